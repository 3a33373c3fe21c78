"""The example application: every flight that left New York in 2013, and `dal demo` on it.

`dal.demo.models` is an ordinary SQLAlchemy model of five tables; `dal.demo.data` finds and loads the rows;
`dal.demo.chapters` is what `dal demo` tells, one file a chapter. Nothing else of dal imports any of it.
"""
