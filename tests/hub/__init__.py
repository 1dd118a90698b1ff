"""A Hub on the loopback interface, so that publishing and loading are tested with the real clients."""
