"""Who may go to which replica, and when: pure; clock and random numbers are arguments."""
