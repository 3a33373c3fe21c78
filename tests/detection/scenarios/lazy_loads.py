"""Relationships read in a loop, and the same code written well."""

# mypy: allow-untyped-defs, allow-untyped-calls, allow-untyped-decorators, disable-error-code=union-attr
from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import (
    aliased,
    contains_eager,
    immediateload,
    joinedload,
    lazyload,
    selectin_polymorphic,
    selectinload,
    subqueryload,
    with_parent,
)

from tests.detection.scenarios.models import (
    CardPayment,
    Category,
    Comment,
    Company,
    Employee,
    Item,
    Job,
    Manager,
    Order,
    Player,
    Post,
    Profile,
    Tag,
    Team,
    User,
)
from tests.detection.scenarios.table import N1, App, clean, dirty


def users(app: App, *options: object) -> list[User]:
    return list(app.session.scalars(select(User).options(*options).order_by(User.id)))  # type: ignore[arg-type]


def posts(app: App, *options: object) -> list[Post]:
    return list(app.session.scalars(select(Post).options(*options).order_by(Post.id)))  # type: ignore[arg-type]


# Must be flagged.


@dirty(N1, "User.posts", source="bullet, zeal, nplusone, queryspy")
def one_to_many(app):
    for user in users(app):
        list(user.posts)  # HERE


@dirty(N1, "Post.author", source="bullet, prosopite, zeal, nplusone")
def many_to_one(app):
    return [post.author.name for post in posts(app)]  # HERE


@dirty(N1, "User.profile", source="bullet, zeal")
def one_to_one_forward(app):
    return [user.profile for user in users(app)]  # HERE


@dirty(N1, "Profile.user", source="bullet, zeal")
def one_to_one_backward(app):
    for profile in app.session.scalars(select(Profile)).all():
        profile.user.name  # HERE


@dirty(N1, "Post.tags", source="bullet, zeal, nplusone")
def many_to_many(app):
    for post in posts(app):
        len(post.tags)  # HERE


@dirty(N1, "Tag.posts", source="zeal, nplusone")
def many_to_many_backward(app):
    for tag in app.session.scalars(select(Tag)):
        len(tag.posts)  # HERE


@dirty(N1, "User.badges", source="zeal")
def many_to_many_one_way(app):
    for user in users(app):
        len(user.badges)  # HERE


@dirty(N1, "Category.children")
def self_referential_children(app):
    for category in app.session.scalars(select(Category).where(Category.parent_id == 1)).all():
        len(category.children)  # HERE


@dirty(N1, "Category.parent")
def chain_of_parents(app):
    category = app.session.get(Category, 104)
    while category.parent is not None:  # HERE
        category = category.parent


@dirty(N1, "Category.parent")
def chain_of_parents_by_recursion(app):
    def root(category):
        return category if category.parent is None else root(category.parent)

    root(app.session.get(Category, 104))


@dirty(N1, "Category.children")
def tree_by_recursion(app):
    def walk(category):
        return 1 + sum(walk(child) for child in category.children)  # HERE

    walk(app.session.get(Category, 1))


@dirty(N1, "Post.comments", source="bullet")
def nested_two_levels(app):
    for user in users(app):
        for post in user.posts:
            len(post.comments)  # HERE


@dirty(N1, "Post.comments", source="bullet")
def nested_three_levels(app):
    for company in app.session.scalars(select(Company)):
        for user in company.users:
            for post in user.posts:
                len(post.comments)  # HERE


@dirty(N1, "Post.comments", source="bullet")
def fixed_at_the_first_level_only(app):
    for user in users(app, selectinload(User.posts)):
        for post in user.posts:
            len(post.comments)  # HERE


@dirty(N1, "Post.comments", source="bullet")
def fixed_at_the_first_level_by_a_join(app):
    for user in app.session.scalars(select(User).options(joinedload(User.posts))).unique():
        for post in user.posts:
            len(post.comments)  # HERE


@dirty(N1, "User.company")
def chain_of_scalars(app):
    for profile in app.session.scalars(select(Profile)).all():
        profile.user.company.name  # HERE


@dirty(N1, "User.badges", source="bullet")
def one_of_two_relationships_fixed(app):
    for user in users(app, selectinload(User.posts)):
        len(user.posts), len(user.badges)  # HERE


@dirty(N1, "CardPayment.payer", source="bullet")
def single_table_subclass(app):
    return [payment.payer.name for payment in app.session.scalars(select(CardPayment))]  # HERE


@dirty(N1, "Manager.reports", source="bullet")
def joined_table_subclass(app):
    for manager in app.session.scalars(select(Manager)):
        len(manager.reports)  # HERE


@dirty(N1, "Manager.reports")
def polymorphic_result(app):
    for employee in app.session.scalars(select(Employee).options(selectin_polymorphic(Employee, [Manager]))).all():
        len(employee.reports)  # HERE


@dirty(N1, "Order.items")
def composite_key_collection(app):
    for order in app.session.scalars(select(Order)):
        len(order.items)  # HERE


@dirty(N1, "Item.order")
def composite_key_scalar(app):
    return {item.order.status for item in app.session.scalars(select(Item))}  # HERE


@dirty(N1, "Item.product")
def two_steps_where_the_second_is_forgotten(app):
    for order in app.session.scalars(select(Order).options(selectinload(Order.items))):
        for item in order.items:
            item.product.name  # HERE


@dirty(N1, "User.posts", source="bullet")
def only_asked_whether_there_are_any(app):
    return [user for user in users(app) if user.posts]  # HERE


@dirty(N1, "User.posts", source="prosopite")
def only_the_first_of_each(app):
    return [user.posts[0] for user in users(app)]  # HERE


@dirty(N1, "User.posts", source="prosopite")
def only_the_last_of_each(app):
    return [user.posts[-1] for user in users(app)]  # HERE


@dirty(N1, "User.posts", source="bullet")
def contains_check(app):
    post = app.session.get(Post, 11)
    return [user.name for user in users(app) if post in user.posts]  # HERE


@dirty(N1, "User.posts")
def in_a_property(app):
    return sum(user.post_count for user in users(app))


@dirty(N1, "User.posts")
def in_a_hybrid(app):
    return [user.name for user in users(app) if user.has_posts]


@dirty(N1, "User.company")
def in_repr(app):
    return "\n".join(repr(user) for user in users(app))


@dirty(N1, "User.company")
def in_a_sort_key(app):
    return sorted(users(app), key=lambda user: user.company.name)  # HERE


@dirty(N1, "User.posts")
def in_a_comprehension_of_a_generator(app):
    return dict((user.id, [post.title for post in user.posts]) for user in users(app))  # HERE  # noqa: C402


@dirty(N1, "User.posts")
def in_a_helper(app):
    def titles(user):
        return [post.title for post in user.posts]  # HERE

    return [titles(user) for user in users(app)]


@dirty(N1, "User.posts")
def by_map(app):
    return list(map(lambda user: len(user.posts), users(app)))  # HERE  # noqa: C417


@dirty(N1, "User.posts")
def by_getattr(app):
    return [len(getattr(user, "posts")) for user in users(app)]  # HERE  # noqa: B009


@dirty(N1, "User.posts")
def in_two_branches_of_a_loop(app):
    found = []
    for user in users(app):
        if user.id % 2:
            found += user.posts
        else:
            found += list(user.posts)
    return found


@dirty(N1, "User.posts")
def rows_of_entities_and_columns(app):
    for user, _ in app.session.execute(select(User, User.name)).all():
        len(user.posts)  # HERE


@dirty(N1, "User.posts")
def legacy_query(app):
    for user in app.session.query(User).all():
        len(user.posts)  # HERE


@dirty(N1, "User.posts")
def of_an_alias(app):
    other = aliased(User)
    for user in app.session.scalars(select(other).where(other.id < 5)):
        len(user.posts)  # HERE


@dirty(N1, "User.posts", source="bullet")
def from_text(app):
    from sqlalchemy import text

    for user in app.session.scalars(select(User).from_statement(text("SELECT * FROM users"))):
        len(user.posts)  # HERE


@dirty(N1, "User.posts")
def joined_for_a_filter_but_not_loaded(app):
    for user in app.session.scalars(select(User).join(User.posts).where(Post.id > 0).distinct()):
        len(user.posts)  # HERE


@dirty(N1, "Post.comments")
def below_contains_eager(app):
    rows = app.session.scalars(select(User).join(User.posts).options(contains_eager(User.posts))).unique().all()
    return [len(post.comments) for user in rows for post in user.posts]  # HERE


@dirty(N1, "User.orders")
def inside_yield_per(app):
    for user in app.session.scalars(select(User).execution_options(yield_per=2)):
        len(user.orders)  # HERE


@dirty(N1, "User.posts")
def in_partitions_of_a_stream(app):
    for part in app.session.scalars(select(User).execution_options(yield_per=3)).partitions():
        for user in part:
            len(user.posts)  # HERE


@dirty(N1, "Team.coach")
def eager_mapping_switched_off(app):
    for team in app.session.scalars(select(Team).options(lazyload(Team.coach), lazyload(Team.players))).all():
        team.coach.name  # HERE


@dirty(N1, "User.company")
def in_an_f_string(app):
    return [f"{user.name} works at {user.company.name}" for user in users(app)]  # HERE


@dirty(N1, "Order.items", writes=True)
def cascade_of_deletes(app):
    for order in app.session.scalars(select(Order).where(Order.shop > 3)).all():
        app.session.delete(order)  # HERE


@dirty(N1, "User.posts")
def two_objects_of_one_result_are_enough(app):
    return [len(user.posts) for user in app.session.scalars(select(User).limit(2))]  # HERE


# Silence is right.


@clean(source="bullet, zeal, nplusone, queryspy")
def selectin_option(app):
    return [len(user.posts) for user in users(app, selectinload(User.posts))]


@clean(source="bullet, nplusone, queryspy")
def joined_option(app):
    rows = app.session.scalars(select(User).options(joinedload(User.posts))).unique().all()
    return [len(user.posts) for user in rows]


@clean(source="nplusone, queryspy")
def subquery_option(app):
    return [len(user.posts) for user in users(app, subqueryload(User.posts))]


@clean()
def immediate_option(app):
    return [len(user.posts) for user in users(app, immediateload(User.posts))]


@clean()
def immediate_option_for_scalars(app):
    return [user.company.name for user in users(app, immediateload(User.company))]


@clean(source="bullet")
def two_levels_of_options(app):
    loaded = users(app, selectinload(User.posts).selectinload(Post.comments))
    return [len(post.comments) for user in loaded for post in user.posts]


@clean(source="bullet")
def joined_then_selectin(app):
    rows = app.session.scalars(select(Post).options(joinedload(Post.author).selectinload(User.badges))).all()
    return [len(post.author.badges) for post in rows]


@clean(source="bullet")
def many_to_many_option(app):
    return [len(post.tags) for post in posts(app, selectinload(Post.tags))]


@clean()
def contains_eager_option(app):
    rows = app.session.scalars(select(User).join(User.posts).options(contains_eager(User.posts))).unique().all()
    return [len(user.posts) for user in rows]


@clean()
def mapped_selectin(app):
    return [len(team.players) for team in app.session.scalars(select(Team))] + [
        team.coach.name for team in app.session.scalars(select(Team))
    ]


@clean()
def mapped_joined(app):
    return [(team.coach.name, team.players) for team in app.session.scalars(select(Team))]


@clean()
def yield_per_with_selectin(app):
    stream = app.session.scalars(select(User).options(selectinload(User.posts)).execution_options(yield_per=2))
    return [len(user.posts) for user in stream]


@clean(source="zeal")
def many_to_one_of_one_parent(app):
    user = app.session.get(User, 1)
    return [post.author.name for post in user.posts]


@clean()
def many_to_one_answered_from_the_session(app):
    everyone = users(app)
    return len(everyone), [post.author.name for post in posts(app)]


@clean(source="zeal")
def scalar_that_is_null(app):
    for user in app.session.scalars(select(Job)):
        user.user_id = None
    app.session.rollback()
    return [category.parent for category in app.session.scalars(select(Category).where(Category.parent_id.is_(None)))]


@clean(source="bullet, zeal, nplusone")
def one_object_by_get(app):
    return len(app.session.get(User, 1).posts)


@clean(source="zeal")
def one_object_by_first(app):
    return len(app.session.scalars(select(User).limit(1)).first().posts)


@clean(source="zeal")
def one_object_by_one(app):
    user = app.session.scalars(select(User).where(User.id == 2)).one()
    return len(user.posts), len(user.badges), user.profile.city


@clean(source="zeal, prosopite")
def two_objects_on_two_lines(app):
    first = app.session.get(User, 1)
    second = app.session.get(User, 2)
    one = len(first.posts)
    two = len(second.posts)
    return one, two


@clean()
def two_objects_on_one_line(app):
    first, second = app.session.scalars(select(User).limit(2)).all()
    return len(first.posts) - len(second.posts)


@clean(source="zeal")
def the_same_relationship_twice(app):
    user = app.session.get(User, 1)
    return [len(user.posts) for _ in range(5)]


@clean()
def two_relationships_of_one_object_in_a_loop(app):
    user = app.session.get(User, 1)
    return [len(getattr(user, name)) for name in ("posts", "badges", "orders")]


@clean(source="bullet")
def only_one_of_the_objects_is_asked(app):
    return len(users(app)[2].posts)


@clean(source="bullet")
def only_some_children_of_one_object(app):
    post = app.session.get(Post, 11)
    return [comment.body for comment in post.comments], post.author.name


@clean(source="bullet")
def empty_result(app):
    return [len(user.posts) for user in app.session.scalars(select(User).where(User.id < 0))]


@clean(source="nplusone")
def empty_result_with_an_option(app):
    stmt = select(User).where(User.id < 0).options(selectinload(User.posts))
    return [len(user.posts) for user in app.session.scalars(stmt)]


@clean(source="bullet")
def result_of_one_row(app):
    stmt = select(User).where(User.id == 3)
    return [len(user.posts) for user in app.session.scalars(stmt)]


@clean()
def back_reference_of_a_loaded_collection(app):
    return [post.author.name for user in users(app, selectinload(User.posts)) for post in user.posts]


@clean(source="bullet", writes=True)
def pending_objects(app):
    for name in ("a", "b", "c"):
        user = User(name=name)
        user.posts.append(Post(title="first"))
        app.session.add(user)
        assert len(user.posts) == 1
    app.session.commit()


@clean(writes=True)
def back_reference_assigned(app):
    author = app.session.get(User, 1)
    for number in range(4):
        app.session.add(Post(title=str(number), author=author))
    app.session.commit()


@clean(source="bullet", writes=True)
def created_then_read_at_once(app):
    category = Category(id=900, name="new")
    app.session.add(category)
    app.session.commit()
    return len(category.children)


@clean()
def read_through_another_instance_of_the_result(app):
    loaded = users(app, selectinload(User.orders))
    by_id = {user.id: user for user in loaded}
    return [len(by_id[user.id].orders) for user in loaded]


@clean()
def options_on_a_legacy_query(app):
    return [len(user.posts) for user in app.session.query(User).options(selectinload(User.posts))]


@clean()
def count_by_column_property(app):
    from sqlalchemy.orm import undefer

    return [post.comment_count for post in posts(app, undefer(Post.comment_count))]  # type: ignore[attr-defined]


@clean()
def polymorphic_option(app):
    stmt = select(Employee).options(selectin_polymorphic(Employee, [Manager]), selectinload(Manager.reports))
    return [len(employee.reports) for employee in app.session.scalars(stmt)]


@clean()
def recursion_with_depth(app):
    def walk(category):
        return 1 + sum(walk(child) for child in category.children)

    stmt = select(Category).where(Category.parent_id.is_(None)).options(selectinload(Category.children, recursion_depth=9))
    return [walk(category) for category in app.session.scalars(stmt)]


@clean()
def one_parent_then_its_children_in_one_query(app):
    user = app.session.get(User, 1)
    return app.session.scalars(select(Post).where(with_parent(user, User.posts))).all()


@clean()
def refresh_of_a_mapped_selectin(app):
    team = app.session.get(Team, 1)
    app.session.refresh(team)
    app.session.refresh(team, ["players"])
    return len(team.players)


@clean()
def player_and_its_team(app):
    player = app.session.get(Player, 1)
    return player.team.name, player.team.coach.name, len(player.team.players)


@clean()
def comments_of_one_user_with_join(app):
    stmt = select(Comment).join(Comment.post).options(contains_eager(Comment.post)).where(Comment.user_id == 1)
    return [comment.post.title for comment in app.session.scalars(stmt)]


@clean()
def companies_counted_by_group(app):
    from sqlalchemy import func

    return app.session.execute(select(Company.name, func.count(User.id)).join(Company.users).group_by(Company.name)).all()
