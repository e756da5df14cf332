//! JSON Web Tokens: three parts, and signatures with RS256 and PS256.
//!
//! No token is ever written to a log or into a message.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use ring::rsa::PublicKeyComponents as RsaPublicKey;
use ring::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair,
    UnparsedPublicKey,
};
use rsa::pkcs8::EncodePrivateKey;
use serde::Serialize;
use serde_json::{Value, json};

use crate::random;

/// An RSA key that signs with RS256.
pub(crate) struct SigningKey {
    pair: RsaKeyPair,
    /// The private key, for the certificate made of it.
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) id: String,
}

impl SigningKey {
    /// Makes a key. Takes a good part of a second.
    pub(crate) fn generate() -> Result<SigningKey, String> {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS)
            .map_err(|error| format!("cannot make a signing key: {error}"))?;
        let der = key.to_pkcs8_der().map_err(|error| format!("cannot encode the signing key: {error}"))?;
        let pkcs8 = der.as_bytes().to_vec();
        let pair =
            RsaKeyPair::from_pkcs8(&pkcs8).map_err(|error| format!("cannot use the signing key: {error}"))?;
        Ok(SigningKey { pair, pkcs8, id: URL_SAFE_NO_PAD.encode(random::bytes::<20>()) })
    }

    /// A token of these parts; with `broken`, one whose signature is wrong.
    pub(crate) fn sign(&self, header: &impl Serialize, claims: &impl Serialize, broken: bool) -> String {
        let mut token = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &ring::rand::SystemRandom::new(), token.as_bytes(), &mut signature)
            .expect("the signature is as long as the key's modulus");
        if broken {
            signature[0] ^= 1;
        }
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }

    /// The public half as a JSON Web Key.
    pub(crate) fn public_key(&self) -> Value {
        let RsaPublicKey { n, e } = RsaPublicKey::<Vec<u8>>::from(self.pair.public());
        let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
        json!({ "kty": "RSA", "use": "sig", "kid": self.id, "n": n, "e": e })
    }

    /// Whether this key signed the token, with the algorithm that its header names.
    pub(crate) fn has_signed(&self, token: &Parts<'_>) -> bool {
        let algorithm = match token.header["alg"].as_str() {
            Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
            Some("PS256") => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(algorithm, self.pair.public_key().as_ref())
            .verify(token.signed.as_bytes(), &token.signature)
            .is_ok()
    }
}

/// A token taken apart; nothing of it has been checked.
pub(crate) struct Parts<'a> {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    /// What the signature is over.
    signed: &'a str,
    signature: Vec<u8>,
}

impl Parts<'_> {
    pub(crate) fn of(token: &str) -> Option<Parts<'_>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| LENIENT.decode(part).ok();
        let object = |part: &str| serde_json::from_slice(&decode(part)?).ok().filter(Value::is_object);
        Some(Parts {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: decode(signature)?,
        })
    }
}

/// Unpadded base64url of the JSON form.
fn encode(part: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).expect("strings and numbers have a JSON form"))
}

/// Azure's own libraries pad the parts of their assertions, against the standard, and Entra lets it pass.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const RSA_BITS: usize = 2_048;
