"""What carries intents out: in process here, on Celery workers in production. The intent table is the truth."""
