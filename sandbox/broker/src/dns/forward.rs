//! Questions for records that the host's resolver library cannot ask: put to the servers of the host's own resolv.conf.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            HTTPS, SVCB,
            svcb::{Alpn, SvcParamKey, SvcParamValue},
        },
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// As glibc: three servers.
const MOST_SERVERS: usize = 3;

/// For one server.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Records of one answer that are passed on.
const MOST_RECORDS: usize = 32;

/// Asks the host's servers in order; the answer holds no real address and no `ech`.
pub(super) async fn ask(name: &Name, kind: RecordType) -> Result<Vec<Record>, ResponseCode> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), kind));
    let bytes = question.to_vec().map_err(|_| ResponseCode::FormErr)?;
    for server in servers() {
        let Ok(Some(answer)) = timeout(PATIENCE, once(server, question.id, &bytes)).await else { continue };
        return match answer.response_code {
            ResponseCode::NoError => Ok(answer.answers.into_iter().take(MOST_RECORDS).filter_map(|record| cleaned(record, kind)).collect()),
            code => Err(code),
        };
    }
    Err(ResponseCode::ServFail)
}

fn servers() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok())
        .take(MOST_SERVERS)
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

async fn once(server: SocketAddr, id: u16, question: &[u8]) -> Option<Message> {
    let local: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await.ok()?;
    socket.connect(server).await.ok()?;
    socket.send(question).await.ok()?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).await.ok()?;
    let answer = Message::from_vec(buffer.get(..length)?).ok()?;
    if answer.id != id {
        return None;
    }
    if !answer.truncation {
        return Some(answer);
    }
    let mut stream = TcpStream::connect(server).await.ok()?;
    stream.write_u16(u16::try_from(question.len()).ok()?).await.ok()?;
    stream.write_all(question).await.ok()?;
    let mut whole = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut whole).await.ok()?;
    Message::from_vec(&whole).ok().filter(|answer| answer.id == id)
}

/// A record without what would lead round the broker: address hints, and the keys that would encrypt the name in the TLS hello.
fn cleaned(mut record: Record, kind: RecordType) -> Option<Record> {
    if record.record_type() != kind && record.record_type() != RecordType::CNAME {
        return None;
    }
    match &mut record.data {
        // Another target would be connected to under a name that its own address was not given for.
        RData::HTTPS(HTTPS(service)) if !service.target_name.is_root() => return None,
        RData::HTTPS(HTTPS(service)) | RData::SVCB(service) => *service = without_hints(service),
        RData::A(_) | RData::AAAA(_) => return None,
        _ => {}
    }
    Some(record)
}

fn without_hints(service: &SVCB) -> SVCB {
    let kept = service
        .svc_params
        .iter()
        .filter(|(key, _)| !matches!(key, SvcParamKey::EchConfigList | SvcParamKey::Ipv4Hint | SvcParamKey::Ipv6Hint | SvcParamKey::Mandatory))
        .cloned()
        .map(|(key, value)| match value {
            // QUIC is refused in the box: an offer of it would only cost a refused packet.
            SvcParamValue::Alpn(Alpn(protocols)) => (key, SvcParamValue::Alpn(Alpn(protocols.into_iter().filter(|name| !name.starts_with("h3")).collect()))),
            other => (key, other),
        })
        .filter(|(_, value)| !matches!(value, SvcParamValue::Alpn(Alpn(protocols)) if protocols.is_empty()))
        .collect();
    SVCB::new(service.svc_priority, service.target_name.clone(), kept)
}
