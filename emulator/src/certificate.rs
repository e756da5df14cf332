//! The certificate authority, the certificate of the servers, and the one that an application logs in with.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
};
use ring::digest;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

/// A certificate with its key, and the file of the authority that a client has to trust.
pub(crate) struct Chain {
    pub(crate) ca_file: PathBuf,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Makes an authority, writes it to `directory`, and issues a certificate for the DNS name `host` alone:
/// Azure's certificates hold no address, so a client that dials an advertised address must verify the
/// configured name.
pub(crate) fn issue(host: &str, directory: &Path) -> Result<Chain, String> {
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let ca_key = KeyPair::generate().map_err(failed)?;
    let mut ca = params(Vec::new(), "respass emulator CA").map_err(failed)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key).map_err(failed)?;

    let key = KeyPair::generate().map_err(failed)?;
    let mut leaf = params(vec![host.to_owned()], host).map_err(failed)?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python 3.13 verifies strictly and wants to see it.
    leaf.use_authority_key_identifier_extension = true;
    let certificate = leaf.signed_by(&key, &Issuer::from_params(&ca, &ca_key)).map_err(failed)?;

    let ca_file = directory.join("ca.pem");
    std::fs::write(&ca_file, ca_certificate.pem())
        .map_err(|error| format!("cannot write {}: {error}", ca_file.display()))?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(str::to_owned)?;
    Ok(Chain { ca_file, certificate: certificate.der().clone(), key })
}

/// An application's certificate. Only who has the file has the key.
pub(crate) struct ClientCertificate {
    /// PEM: the key, then the certificate.
    pub(crate) file: PathBuf,
    /// Thumbprints as assertions name them: digests of the certificate, in unpadded base64url.
    pub(crate) sha1: String,
    pub(crate) sha256: String,
}

/// Makes a self-signed certificate over an RSA key in PKCS #8 and writes both to `directory`.
pub(crate) fn issue_to_client(pkcs8: &[u8], directory: &Path) -> Result<ClientCertificate, String> {
    let failed = |error: rcgen::Error| format!("cannot make a certificate: {error}");
    let key = PrivatePkcs8KeyDer::from(pkcs8);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_RSA_SHA256).map_err(failed)?;
    let params = params(Vec::new(), "respass emulator application").map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    let file = directory.join("client.pem");
    std::fs::write(&file, key.serialize_pem() + &certificate.pem())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    let thumbprint = |algorithm| URL_SAFE_NO_PAD.encode(digest::digest(algorithm, certificate.der()));
    let sha1 = thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    Ok(ClientCertificate { file, sha1, sha256: thumbprint(&digest::SHA256) })
}

fn params(names: Vec<String>, common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    // Backdated, so that tests may run clients whose clock is behind.
    params.not_before = OffsetDateTime::now_utc() - Duration::days(2);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(90);
    Ok(params)
}
