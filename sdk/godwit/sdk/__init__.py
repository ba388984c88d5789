"""What a program may call from inside a job: progress, checkpoints, and glue for Ray Train. Stdlib only.

Outside of godwit everything here does nothing or works on a local folder, so a program needs no second code path.
"""
