"""What the API offers, one function per request, each in one transaction."""
