"""One module per verb or noun; each holds a Typer `app` and is imported only when it is called."""
