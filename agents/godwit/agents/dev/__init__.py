"""Dev environments on their node: the desk (home folder, terminals, use), and the agent's side of them."""
