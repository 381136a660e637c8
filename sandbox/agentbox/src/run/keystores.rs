//! How the box's authority reaches the Java virtual machines in it: their keystores of trusted roots, each covered by one that has ours as well.
//!
//! A virtual machine reads no bundle and no variable but `JAVA_TOOL_OPTIONS`, which it announces on the standard error of every program. So the
//! file itself is covered. What is written is JKS (`sun.security.provider.JavaKeyStore`, version 2), which every release since Java 1.2 reads under
//! either type's name.

use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::OFlags;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
// Several times as fast as ring's, which knows no instruction that a processor has for it: every start waits for this sum.
use sha1::{Digest as _, Sha1};

use agentbox_kernel::{mounts::Contents, real::Real};

use super::trust::File;

/// Where distributions and official images keep one for all virtual machines, or for their own.
const STORES: &[&str] = &[
    "/etc/ssl/certs/java/cacerts",                // Debian, Ubuntu
    "/etc/pki/ca-trust/extracted/java/cacerts",   // Fedora, RHEL
    "/var/lib/ca-certificates/java-cacerts",      // openSUSE
    "/etc/ssl/certs/java-cacerts",                // Alpine
    "/opt/java/openjdk/lib/security/cacerts",     // eclipse-temurin's images
    "/usr/local/openjdk-17/lib/security/cacerts", // openjdk's images
    "/usr/java/default/lib/security/cacerts",     // Oracle's packages
];

/// Folders of which each child may be a virtual machine; those that begin with `~` lie in the user's home.
const HOMES: &[&str] =
    &["/usr/lib/jvm", "/usr/lib64/jvm", "/usr/java", "/opt/java", "~/.sdkman/candidates/java", "~/.jdks", "~/.local/share/mise/installs/java"];

/// Where a virtual machine has its own, below its home; the second up to Java 8.
const BELOW: &[&str] = &["lib/security/cacerts", "jre/lib/security/cacerts"];

/// More virtual machines than anybody has; each look costs microseconds at every start.
const MOST_HOMES: usize = 32;

/// More different keystores than anybody has.
const MOST_STORES: usize = 8;

/// Debian's has 165 kB.
const LARGEST: u64 = 2 << 20;

/// For the entry that is added to one, and the sum: memory that is asked for at once is not copied while it grows.
const ROOM: usize = 4 << 10;

/// Bytes of the sum at the end.
const SUM: usize = 20;

/// The password that every virtual machine's own keystore has: it protects nothing, and the sum at the end is made with it.
const PASSWORD: &str = "changeit";

const MAGIC: [u8; 8] = [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2];

/// The tag of an entry that is a trusted certificate. The other one is a private key.
const TRUSTED: [u8; 4] = [0, 0, 0, 2];

const NAME: &str = "agentbox, the box's own authority";

/// A keystore as it is outside.
pub(crate) struct Store {
    path: PathBuf,
    roots: Roots,
}

enum Roots {
    /// Its own, ours not yet among them.
    Own(Begun),
    /// It is PKCS #12, which may be encrypted: the box's has the system's roots instead.
    OfTheSystem,
}

/// Those of this machine.
pub(crate) fn find() -> Vec<Store> {
    found(candidates(std::env::var_os("HOME").as_deref(), std::env::var_os("JAVA_HOME").as_deref()).into_iter())
}

fn candidates(home: Option<&OsStr>, java_home: Option<&OsStr>) -> Vec<PathBuf> {
    let folders = HOMES.iter().filter_map(|folder| match folder.strip_prefix("~/") {
        Some(rest) => Some(Path::new(home?).join(rest)),
        None => Some(PathBuf::from(folder)),
    });
    let children = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten().map(|entry| entry.path());
    let machines = java_home.map(PathBuf::from).into_iter().filter(|path| path.is_absolute()).chain(children).take(MOST_HOMES);
    let own = machines.flat_map(|machine| BELOW.iter().map(move |below| machine.join(below)));
    STORES.iter().map(PathBuf::from).chain(own).collect()
}

fn found(candidates: impl Iterator<Item = PathBuf>) -> Vec<Store> {
    let (mut stores, mut real): (Vec<Store>, Real) = Default::default();
    for candidate in candidates {
        // Distributions link all of theirs to one.
        let Ok(path) = real.of(&candidate) else { continue };
        if stores.iter().any(|store| store.path == path) {
            continue;
        }
        if let Some(roots) = read(&path) {
            stores.push(Store { path, roots });
        }
        if stores.len() == MOST_STORES {
            break;
        }
    }
    stores
}

/// What is no keystore of nothing but roots stays as it is: a link that was put where a keystore is expected must not show a file to the box.
fn read(path: &Path) -> Option<Roots> {
    let file = fs::OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() {
        return None;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(LARGEST)).ok()? + ROOM);
    file.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LARGEST {
        return None;
    }
    // A SEQUENCE of more than 255 bytes: PKCS #12.
    if matches!(*bytes, [0x30, 0x82..=0x84, ..]) {
        return Some(Roots::OfTheSystem);
    }
    let (count, _) = entries(&bytes)?;
    bytes.truncate(bytes.len() - SUM);
    bytes.get_mut(MAGIC.len()..)?.first_chunk_mut::<4>()?.copy_from_slice(&count.checked_add(1)?.to_be_bytes());
    Some(Roots::Own(Begun::of(bytes)))
}

/// The entries of a JKS keystore, if each of them is a trusted certificate.
fn entries(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_at_checked(MAGIC.len())?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (entries, _sum) = rest.split_at_checked(rest.len().checked_sub(SUM)?)?;
    if head != MAGIC {
        return None;
    }
    let (count, mut left) = (u32::from_be_bytes(*count), entries);
    // Each entry takes bytes away, so that the file's size bounds the loop.
    for _ in 0..count {
        left = left.strip_prefix(&TRUSTED)?;
        left = after_text(left)?;
        left = left.get(8..)?;
        left = after_text(left)?;
        let (length, rest) = left.split_first_chunk::<4>()?;
        left = rest.get(u32::from_be_bytes(*length).try_into().ok()?..)?;
    }
    left.is_empty().then_some((count, entries))
}

fn after_text(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.get(u16::from_be_bytes(*length).into()..)
}

/// What covers them: `certificate` is ours, `bundle` names the system's roots, both PEM.
pub(crate) fn covers(stores: Vec<Store>, certificate: &str, bundle: Option<&Path>) -> Vec<File> {
    let Some(ours) = certificates(certificate.as_bytes()).next() else { return Vec::new() };
    let mut of_the_system: Option<Arc<Contents>> = None;
    let mut covers = Vec::new();
    for Store { path, roots } in stores {
        let contents = match roots {
            Roots::Own(mut begun) => {
                begun.add(&entry(NAME, &ours));
                Arc::new(begun.sealed().into())
            }
            Roots::OfTheSystem => {
                let made = || of_bundle(&bundle.and_then(|bundle| fs::read(bundle).ok()).unwrap_or_default(), &ours);
                of_the_system.get_or_insert_with(|| Arc::new(made().into())).clone()
            }
        };
        covers.push((path, contents));
    }
    covers
}

fn of_bundle(bundle: &[u8], ours: &[u8]) -> Vec<u8> {
    let roots: Vec<_> = certificates(bundle).filter(|root| **root != *ours).collect();
    let mut begun = Begun::with(u32::try_from(roots.len()).unwrap_or(u32::MAX).saturating_add(1));
    for (number, root) in roots.iter().enumerate() {
        begun.add(&entry(&format!("system {number}"), root));
    }
    begun.add(&entry(NAME, ours));
    begun.sealed()
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn entry(name: &str, certificate: &[u8]) -> Vec<u8> {
    let mut out = TRUSTED.to_vec();
    text(&mut out, name);
    // When it was made, in milliseconds: nobody asks.
    out.extend_from_slice(&[0; 8]);
    text(&mut out, "X.509");
    out.extend_from_slice(&u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(certificate);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Head and entries, with the sum that readers with the password check. It is made on the way: a start then waits for little
/// of it, since it has most of the entries before it has our certificate.
struct Begun {
    bytes: Vec<u8>,
    sum: Sha1,
}

impl Begun {
    fn with(count: u32) -> Self {
        Self::of([MAGIC.as_slice(), &count.to_be_bytes()].concat())
    }

    fn of(bytes: Vec<u8>) -> Self {
        let mut sum = Sha1::new();
        PASSWORD.encode_utf16().for_each(|unit| sum.update(unit.to_be_bytes()));
        sum.update(b"Mighty Aphrodite");
        sum.update(&bytes);
        Self { bytes, sum }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.sum.update(bytes);
    }

    fn sealed(self) -> Vec<u8> {
        let Self { mut bytes, sum } = self;
        bytes.extend_from_slice(&sum.finalize());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(names: &[&str]) -> Vec<u8> {
        let mut begun = Begun::with(u32::try_from(names.len()).unwrap());
        names.iter().for_each(|name| begun.add(&entry(name, b"der")));
        begun.sealed()
    }

    fn put(contents: &Contents) -> Vec<u8> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        contents.write(file.reopen().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn pem() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_keystore_keeps_its_roots_and_gets_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cacerts");
        fs::write(&path, store(&["a", "b"])).unwrap();
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        let stores = found([folder.path().join("link"), path.clone(), folder.path().join("none")].into_iter());
        let covers = covers(stores, &pem(), None);
        assert_eq!(covers.len(), 1, "links are covered once");
        assert_eq!(covers[0].0, fs::canonicalize(&path).unwrap());
        let put = put(&covers[0].1);
        let (count, kept) = entries(&put).unwrap();
        assert_eq!(count, 3);
        assert!(kept.starts_with(entries(&store(&["a", "b"])).unwrap().1));
        let sum = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
        let (summed, its_sum) = put.split_at(put.len() - SUM);
        let parts = [PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect(), b"Mighty Aphrodite".to_vec(), summed.to_vec()];
        let sum = parts.iter().fold(sum, |mut sum, part| {
            sum.update(part);
            sum
        });
        assert_eq!(sum.finish().as_ref(), its_sum);
    }

    #[test]
    fn another_format_gets_the_systems_roots() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cacerts");
        fs::write(&path, [0x30, 0x82, 1, 2, 3]).unwrap();
        let (ours, system) = (pem(), pem());
        let bundle = folder.path().join("bundle.pem");
        fs::write(&bundle, format!("{ours}\n{system}")).unwrap();
        let covers = covers(found([path].into_iter()), &ours, Some(&bundle));
        assert_eq!(entries(&put(&covers[0].1)).unwrap().0, 2, "ours is there once");
    }

    #[test]
    fn what_is_no_keystore_of_roots_alone_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut key = store(&["a"]);
        key[15] = 1;
        let mut cut = store(&["a"]);
        cut.truncate(40);
        let mut more = store(&["a", "b"]);
        more[11] = 1;
        for (number, bytes) in [key, cut, more, b"-----BEGIN OPENSSH PRIVATE KEY-----".to_vec(), Vec::new()].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            fs::write(&path, bytes).unwrap();
            assert!(found([path].into_iter()).is_empty(), "{number}");
        }
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(found([pipe, folder.path().to_owned()].into_iter()).is_empty());
    }
}
