"""People log in with an identity provider: its settings, what it says, and what that allows here."""
