"""`python -m instructseg`, the same program as the console script."""

from instructseg.cli import main

if __name__ == "__main__":
    main()
