from sqlmodel import Field, Relationship, SQLModel


class Crew(SQLModel, table=True):
    __tablename__ = "detection_crew"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    sailors: list["Sailor"] = Relationship(back_populates="crew")


class Sailor(SQLModel, table=True):
    __tablename__ = "detection_sailor"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    crew_id: int | None = Field(default=None, foreign_key="detection_crew.id")
    crew: Crew | None = Relationship(back_populates="sailors")
