"""The inference data plane: takes requests for services to their replicas, behind a regulator."""
