"""`python -m dal.cli` is `dal`."""

from dal.cli import main

if __name__ == "__main__":
    main()
