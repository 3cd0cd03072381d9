"""cryptography: keys, nonces and text that are frozen bytes."""

import datetime as dt

import pytest
from _rounds import rounds

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives import constant_time, hashes, hmac, padding
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import (
    AESGCM,
    AESSIV,
    ChaCha20Poly1305,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

SHA = hashes.SHA256()


@rounds
def test_hashes(d):
    digest = hashes.Hash(SHA)
    digest.update(d.blob)
    digest.update(d.key)
    code = hmac.HMAC(d.key, SHA)
    code.update(d.blob)
    return digest.finalize(), code.finalize()


@rounds
def test_aead(d):
    sealed = ChaCha20Poly1305(d.key).encrypt(d.nonce, d.blob, d.associated[0])
    return sealed, ChaCha20Poly1305(d.key).decrypt(d.nonce, sealed, d.associated[0]) == d.blob


@rounds
def test_gcm(d):
    sealed = AESGCM(d.key).encrypt(d.nonce, d.blob, None)
    return sealed, AESGCM(d.key).decrypt(d.nonce, sealed, None)


@rounds
def test_siv_with_a_list(d):
    """It takes a list of bytes."""
    return AESSIV(d.key).encrypt(d.blob, d.associated)


@rounds
def test_ciphers(d):
    encryptor = Cipher(algorithms.AES(d.key), modes.CBC(d.blob[:16])).encryptor()
    padder = padding.PKCS7(128).padder()
    padded = padder.update(d.blob) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize(), padded


@rounds
def test_derived_keys(d):
    derived = HKDF(SHA, 32, salt=d.nonce, info=d.associated[1]).derive(d.key)
    return derived, constant_time.bytes_eq(d.key, d.blob[:32]), constant_time.bytes_eq(d.key, d.key)


@rounds(count=10_000)  # 200 us
def test_signatures(d):
    private = ed25519.Ed25519PrivateKey.from_private_bytes(d.key)
    signature = private.sign(d.blob)
    private.public_key().verify(signature, d.blob)
    return signature


@rounds(count=10_000)
def test_exchange(d):
    ours = x25519.X25519PrivateKey.from_private_bytes(d.key)
    return ours.exchange(x25519.X25519PrivateKey.from_private_bytes(d.blob[:32]).public_key())


@rounds
def test_fernet(d):
    fernet = Fernet(d.fernet_key)
    token = fernet.encrypt_at_time(d.blob, d.numbers[1])
    return fernet.decrypt(token), MultiFernet([fernet]).decrypt(token), len(token)


# Building a request and signing it takes 300 us; each reads 8 frozen objects.
@rounds(count=3_000)
def test_certificate_requests(d):
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in [d.latin, *d.dns]]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(names))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in d.dns]), critical=False
        )
        .sign(ed25519.Ed25519PrivateKey.from_private_bytes(d.key), None)
    )
    return request.subject.rfc4514_string(), request.signature


@rounds
def test_names(d):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, d.latin)])
    revoked = x509.RevokedCertificateBuilder().serial_number(d.numbers[1])
    return (
        name.rfc4514_string(),
        x509.RFC822Name(d.email).value,
        revoked.revocation_date(dt.datetime(2026, 1, 1)).build().serial_number,  # noqa: DTZ001
    )
