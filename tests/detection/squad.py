from sqlmodel import Field, Relationship, SQLModel


class Squad(SQLModel, table=True):
    __tablename__ = "detection_squad"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    recruits: list["Recruit"] = Relationship(back_populates="squad")


class Recruit(SQLModel, table=True):
    __tablename__ = "detection_recruit"
    id: int | None = Field(default=None, primary_key=True)
    name: str
    squad_id: int | None = Field(default=None, foreign_key="detection_squad.id")
    squad: Squad | None = Relationship(back_populates="recruits")
