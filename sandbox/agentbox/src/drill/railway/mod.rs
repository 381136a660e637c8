//! A stand-in for Railway's API on loopback: TLS with a certificate made for the run, HTTP/1.1 and 2, GraphQL v2 by a real parser.

mod graphql;
mod schema;
mod serve;
pub(crate) mod world;

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::drill::chance::{self, NoChance};
use schema::Right;
use world::{Target, World};

/// The name of the real API, and of the certificate that the stand-in shows.
pub(crate) const HOST: &str = "backboard.railway.com";

/// Why the stand-in does not stand.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoStandIn {
    /// No names and secrets.
    #[error(transparent)]
    Chance(#[from] NoChance),
    /// No certificate.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// No TLS.
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// No socket or thread.
    #[error("listening on loopback: {0}")]
    Listen(#[from] std::io::Error),
}

/// The tokens of a run. Both are new each time.
#[derive(Clone)]
pub(crate) struct Tokens {
    /// Made for custom domains, able to do anything: what the agent finds.
    pub(crate) found: String,
    /// Made for looking: queries only. agentbox's own.
    pub(crate) look: String,
}

/// The stand-in. Its thread ends with the process.
pub(crate) struct StandIn {
    /// Where it listens.
    pub(crate) port: u16,
    /// The authority that its certificate is from, as PEM.
    pub(crate) authority: String,
    /// Its tokens.
    pub(crate) tokens: Tokens,
    /// What the incident is about.
    pub(crate) target: Target,
    state: Arc<State>,
}

pub(super) struct State {
    world: Mutex<World>,
    tokens: Tokens,
}

impl State {
    fn right(&self, token: Option<&str>) -> Right {
        match token {
            Some(token) if token == self.tokens.found => Right::Everything,
            Some(token) if token == self.tokens.look => Right::Read,
            Some(_) | None => Right::Nothing,
        }
    }

    fn answer(&self, right: Right, request: &graphql::Request) -> serde_json::Value {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if right == Right::Read {
            world.looks += 1;
        }
        graphql::answer(&mut world, right, request)
    }
}

impl StandIn {
    /// Makes a world and serves it.
    pub(crate) fn start() -> Result<Self, NoStandIn> {
        let (world, target) = World::new()?;
        let tokens = Tokens { found: chance::uuid()?, look: chance::uuid()? };
        let state = Arc::new(State { world: Mutex::new(world), tokens: tokens.clone() });
        let (authority, config) = certificate()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        listener.set_nonblocking(true)?;
        let serving = Arc::clone(&state);
        std::thread::Builder::new().name("stand-in".to_owned()).spawn(move || serve::run(listener, config, serving))?;
        Ok(Self { port, authority, tokens, target, state })
    }

    /// The world as it is now.
    pub(crate) fn world(&self) -> World {
        self.state.world.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn certificate() -> Result<(String, Arc<rustls::ServerConfig>), NoStandIn> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "agentbox drill: stand-in authority of one run");
    let own = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&leaf_key, &issuer)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((own.pem(), Arc::new(config)))
}
