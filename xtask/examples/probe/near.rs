//! A client with blocking sockets, so that what is measured is the way and not a runtime.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};

use crate::{Figures, median};

/// Longest head of an answer.
const LONGEST_HEAD: usize = 16 << 10;

/// Bytes of one read or write.
const PIECE: usize = 64 << 10;

struct Client {
    address: SocketAddr,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Does what is asked for, in order; names of figures are its first words.
pub(crate) fn measure(address: &str, name: &str, authority: &Path, what: &[&str]) -> Result<Figures> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).with_context(|| authority.display().to_string())? {
        roots.add(certificate?)?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    // Each connection is a new one, as each run of curl or git makes it.
    config.resumption = Resumption::disabled();
    let address = address.to_socket_addrs()?.find(SocketAddr::is_ipv4).context("no address")?;
    let client = Client { address, name: ServerName::try_from(name.to_owned())?, config: Arc::new(config) };
    let mut figures = Figures::new();
    for pair in what.chunks(2) {
        let [word, number] = pair else { bail!("{pair:?} is no pair") };
        let count: u64 = number.parse()?;
        let figure = match *word {
            "new" => client.new_connections(count)?,
            "keep" => client.kept(count)?,
            "download" => client.download(count)?,
            "upload" => client.upload(count)?,
            "delete" => client.delete()?,
            other => bail!("{other}?"),
        };
        figures.insert((*word).to_owned(), figure);
    }
    Ok(figures)
}

impl Client {
    fn connect(&self) -> Result<Tls> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        Ok(StreamOwned::new(ClientConnection::new(self.config.clone(), self.name.clone())?, socket))
    }

    fn request(&self, method: &str, target: &str, length: u64) -> String {
        format!("{method} {target} HTTP/1.1\r\nhost: {}\r\nuser-agent: probe\r\naccept: */*\r\ncontent-length: {length}\r\n\r\n", self.name.to_str())
    }

    fn get(&self, stream: &mut Tls) -> Result<()> {
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {}\r\nuser-agent: probe\r\naccept: */*\r\n\r\n", self.name.to_str()).as_bytes())?;
        take(stream)
    }

    /// Connect, handshake, one request, its answer.
    fn new_connections(&self, count: u64) -> Result<f64> {
        let mut times = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            let mut stream = self.connect()?;
            self.get(&mut stream)?;
            times.push(begin.elapsed().as_secs_f64() * 1e9);
        }
        Ok(median(times))
    }

    fn kept(&self, count: u64) -> Result<f64> {
        let mut stream = self.connect()?;
        self.get(&mut stream)?;
        let mut times = Vec::new();
        for _ in 0..count {
            let begin = Instant::now();
            self.get(&mut stream)?;
            times.push(begin.elapsed().as_secs_f64() * 1e9);
        }
        Ok(median(times))
    }

    /// Bytes a second.
    fn download(&self, bytes: u64) -> Result<f64> {
        let mut stream = self.connect()?;
        let begin = Instant::now();
        stream.write_all(self.request("GET", &format!("/download/{bytes}"), 0).as_bytes())?;
        take(&mut stream)?;
        Ok(bytes as f64 / begin.elapsed().as_secs_f64())
    }

    /// Bytes a second.
    fn upload(&self, bytes: u64) -> Result<f64> {
        let mut stream = self.connect()?;
        let begin = Instant::now();
        stream.write_all(self.request("POST", "/upload", bytes).as_bytes())?;
        let piece = vec![0; PIECE];
        let mut left = bytes;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            stream.write_all(piece.get(..length).unwrap_or_default())?;
            left -= length as u64;
        }
        stream.flush()?;
        take(&mut stream)?;
        Ok(bytes as f64 / begin.elapsed().as_secs_f64())
    }

    /// When the answer to a held request came: nanoseconds of Unix time.
    fn delete(&self) -> Result<f64> {
        let mut stream = self.connect()?;
        stream.write_all(self.request("DELETE", "/thing", 0).as_bytes())?;
        take(&mut stream)?;
        Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e9)
    }
}

/// Reads one answer to its end; anything but 200 is an error.
fn take(stream: &mut Tls) -> Result<()> {
    let mut bytes = vec![0; PIECE];
    let mut have = 0;
    let head = loop {
        let read = stream.read(bytes.get_mut(have..).unwrap_or_default())?;
        ensure!(read > 0, "the connection ended within a head");
        have += read;
        let so_far = bytes.get(..have).unwrap_or_default();
        if let Some(end) = so_far.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        ensure!(have < LONGEST_HEAD, "the head is too long");
    };
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        bail!("{text}{}", String::from_utf8_lossy(bytes.get(head..have).unwrap_or_default()));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).context("no content-length")?;
    let length: u64 = length.trim().parse()?;
    let mut left = length.checked_sub((have - head) as u64).context("more than was said")?;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let read = stream.read(bytes.get_mut(..room).unwrap_or_default())?;
        ensure!(read > 0, "the connection ended within a body");
        left -= read as u64;
    }
    Ok(())
}
