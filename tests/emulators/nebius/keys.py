"""The key pair of the emulated service account, made once for the process: that takes long."""

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

SERVICE_ACCOUNT = "serviceaccount-e00one"

_KEY = rsa.generate_private_key(65_537, 2_048)
PUBLIC_KEY = _KEY.public_key()
PRIVATE_KEY = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
