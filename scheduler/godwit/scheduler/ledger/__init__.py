"""The ledger: each second of each GPU that was paid for has one reason and one owner, so the sums are what was paid."""
