"""What is paid beside machines: checkpoints that lie in a store."""

GB = 1e9
MONTH_S = 365.25 / 12 * 86_400.0

STORE_USD_PER_GB_MONTH = {"s3": 0.023, "gs": 0.020, "abfs": 0.018, "az": 0.018}
"""List prices by the scheme of a store's URL: Amazon S3 Standard's first 50 TB in us-east-1, Google Cloud Storage
Standard in a US region, Azure Blob hot LRS in East US (their price pages, 2026). A folder costs nothing more."""


def storage_usd(url: str, size_bytes: int, lay_s: float) -> float:
    """What it costs in dollars that so many bytes lay in the store of this URL for so long."""
    price = STORE_USD_PER_GB_MONTH.get(url.partition("://")[0], 0.0)
    return price * size_bytes / GB * max(0.0, lay_s) / MONTH_S
