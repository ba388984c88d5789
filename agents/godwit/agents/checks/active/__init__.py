"""Active checks: they compute something on each GPU and compare what comes out, and how fast, with what should.

A child process does the work (`python -m godwit.agents.checks.active`), so that a GPU that does not answer costs no
more than the budget. `figures` is what the child says, `judging` what that means, `running` gives orders and tells.
"""
