"""`python -m bridge` is `webhook-bridge`."""

from bridge.cli import main

if __name__ == "__main__":
    main()
