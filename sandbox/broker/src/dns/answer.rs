//! One question, one answer.

use std::{net::IpAddr, sync::Arc, time::Duration};

use agentbox_core::HostName;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, PTR},
    },
};
use tokio::time::timeout;

use super::forward;
use crate::names::Names;

/// Synthetic addresses stay the same for the life of the box; the short time only keeps client caches from outliving it.
const TTL: u32 = 60;

/// For the host's resolver.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest UDP answer where the client said nothing of its own (RFC 1035), and where it did (RFC 9715's advice).
const UDP_PLAIN: usize = 512;
const UDP_MOST: usize = 1232;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Udp,
    Tcp,
}

/// What may be asked outside about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The policy lets the host be read: its existence may be asked of the host's resolver.
    Allowed,
    /// Mapped by `names`, or not plainly readable: it gets an address, and no question leaves the box.
    Silent,
    /// The policy denies it altogether.
    Denied,
}

/// Answers questions.
pub(crate) struct Resolver {
    pub(crate) names: Arc<Names>,
    pub(crate) reading: Box<dyn Fn(&HostName) -> Reading + Send + Sync>,
    /// Told of every name that is denied, so that `agentbox why` can say it: the program itself only sees that there is no such name.
    pub(crate) denied: Box<dyn Fn(&HostName) + Send + Sync>,
    /// Answered by us and never resolved outside.
    pub(crate) own: HostName,
}

impl Resolver {
    /// The answer's bytes, or `None` where the question is no question at all.
    pub(crate) async fn answer(&self, bytes: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
        let question = match Message::from_vec(bytes) {
            Ok(question) => question,
            Err(_) => return format_error(bytes),
        };
        if question.message_type != MessageType::Query {
            return None;
        }
        let mut answer = Message::response(question.id, question.op_code);
        answer.metadata.recursion_desired = question.recursion_desired;
        answer.metadata.recursion_available = true;
        if question.op_code != OpCode::Query {
            answer.metadata.response_code = ResponseCode::NotImp;
            return answer.to_vec().ok();
        }
        let [query] = question.queries.as_slice() else {
            answer.metadata.response_code = ResponseCode::FormErr;
            return answer.to_vec().ok();
        };
        answer.add_query(query.clone());
        match self.records(query).await {
            Ok(records) => {
                answer.add_answers(records);
            }
            Err(code) => answer.metadata.response_code = code,
        }
        let limit = match carrier {
            Carrier::Tcp => usize::from(u16::MAX),
            Carrier::Udp if question.edns.is_some() => usize::from(question.max_payload()).clamp(UDP_PLAIN, UDP_MOST),
            Carrier::Udp => UDP_PLAIN,
        };
        let bytes = answer.to_vec().ok()?;
        if bytes.len() <= limit { Some(bytes) } else { answer.truncate().to_vec().ok() }
    }

    async fn records(&self, query: &Query) -> Result<Vec<Record>, ResponseCode> {
        if query.query_class() != DNSClass::IN {
            return Err(ResponseCode::NotImp);
        }
        let asked = query.name();
        if query.query_type() == RecordType::PTR {
            return Ok(self.pointer(asked).into_iter().collect());
        }
        // A name that no host can have (control bytes, blanks) does not exist, and is not asked for.
        let name = HostName::parse(&asked.to_ascii()).map_err(|_| ResponseCode::NXDomain)?;
        if name.as_str() == "localhost" || name.as_str().ends_with(".localhost") {
            return Ok(match query.query_type() {
                RecordType::A => vec![record(asked, RData::A(A(std::net::Ipv4Addr::LOCALHOST)))],
                RecordType::AAAA => vec![record(asked, RData::AAAA(AAAA(std::net::Ipv6Addr::LOCALHOST)))],
                _ => Vec::new(),
            });
        }
        let reading = if name == self.own { Reading::Silent } else { (self.reading)(&name) };
        if reading == Reading::Denied {
            (self.denied)(&name);
        }
        match (reading, query.query_type()) {
            // Not REFUSED: resolvers take that for a broken server, try again, and tell the user of a temporary failure.
            (Reading::Denied, _) => Err(ResponseCode::NXDomain),
            (_, RecordType::A | RecordType::AAAA) => {
                if reading == Reading::Allowed {
                    exists(&name).await?;
                }
                let (v4, v6) = self.names.addresses(&name).map_err(|_| ResponseCode::ServFail)?;
                let data = if query.query_type() == RecordType::A { RData::A(A(v4)) } else { RData::AAAA(AAAA(v6)) };
                Ok(vec![record(asked, data)])
            }
            (Reading::Allowed, RecordType::CNAME | RecordType::SRV | RecordType::TXT | RecordType::MX | RecordType::HTTPS | RecordType::SVCB) => {
                timeout(PATIENCE, forward::ask(asked, query.query_type())).await.map_err(|_| ResponseCode::ServFail)?
            }
            (Reading::Allowed | Reading::Silent, _) => Ok(Vec::new()),
        }
    }

    fn pointer(&self, asked: &Name) -> Option<Record> {
        let address: IpAddr = asked.parse_arpa_name().ok()?.addr();
        let name = self.names.name(address)?;
        let target = Name::from_ascii(format!("{name}.")).ok()?;
        Some(record(asked, RData::PTR(PTR(target))))
    }
}

/// Asks the host's resolver in the host's own order (files, search domains, DNS, …) whether the name exists.
async fn exists(name: &HostName) -> Result<(), ResponseCode> {
    match timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 0))).await {
        Ok(Ok(mut addresses)) => addresses.next().map(|_| ()).ok_or(ResponseCode::NXDomain),
        Ok(Err(error)) if is_passing(&error) => Err(ResponseCode::ServFail),
        Ok(Err(_)) => Err(ResponseCode::NXDomain),
        Err(_) => Err(ResponseCode::ServFail),
    }
}

/// Whether the resolver could not tell now, rather than that there is no such name. The standard library gives getaddrinfo's code
/// as text only (EAI_AGAIN, EAI_SYSTEM, EAI_MEMORY; glibc's and musl's words).
fn is_passing(error: &std::io::Error) -> bool {
    let text = error.to_string();
    error.raw_os_error().is_some()
        || ["Temporary failure", "Try again", "System error", "Memory allocation", "Out of memory"].iter().any(|words| text.contains(words))
}

pub(super) fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

/// FORMERR for what cannot be read, if there is at least an id to answer to.
fn format_error(bytes: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = bytes else { return None };
    // A response is never answered: two servers could talk to each other for ever.
    if flags & 0x80 != 0 {
        return None;
    }
    Message::error_msg(u16::from_be_bytes([*high, *low]), OpCode::Query, ResponseCode::FormErr).to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver() -> Resolver {
        Resolver {
            names: Arc::new(Names::default()),
            reading: Box::new(|name| match name.as_str() {
                "denied.example" => Reading::Denied,
                _ => Reading::Silent,
            }),
            denied: Box::new(|_| {}),
            own: HostName::parse("agentbox.internal").unwrap(),
        }
    }

    async fn ask(resolver: &Resolver, name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        let bytes = resolver.answer(&message.to_vec().unwrap(), Carrier::Udp).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    }

    #[tokio::test]
    async fn a_name_has_one_address_of_each_kind_and_a_pointer_back() {
        let resolver = resolver();
        let v4 = ask(&resolver, "api.example.com.", RecordType::A).await;
        let again = ask(&resolver, "API.example.com.", RecordType::A).await;
        assert_eq!(v4.answers[0].data.ip_addr(), again.answers[0].data.ip_addr());
        let v6 = ask(&resolver, "api.example.com.", RecordType::AAAA).await;
        assert!(v6.answers[0].data.ip_addr().unwrap().is_ipv6());
        let reverse = Name::from(v4.answers[0].data.ip_addr().unwrap());
        let pointer = ask(&resolver, &reverse.to_ascii(), RecordType::PTR).await;
        assert_eq!(pointer.answers[0].data.to_string(), "api.example.com.");
    }

    #[tokio::test]
    async fn denied_names_do_not_exist_and_other_types_have_no_data() {
        let resolver = resolver();
        assert_eq!(ask(&resolver, "denied.example.", RecordType::A).await.response_code, ResponseCode::NXDomain);
        let text = ask(&resolver, "held.example.", RecordType::TXT).await;
        assert_eq!((text.response_code, text.answers.len()), (ResponseCode::NoError, 0));
        assert_eq!(ask(&resolver, "localhost.", RecordType::A).await.answers[0].data.ip_addr(), Some("127.0.0.1".parse().unwrap()));
        assert_eq!(ask(&resolver, "1.2.3.4.in-addr.arpa.", RecordType::PTR).await.answers.len(), 0);
    }

    #[tokio::test]
    async fn garbage_gets_formerr_or_silence() {
        let resolver = resolver();
        assert_eq!(resolver.answer(&[], Carrier::Udp).await, None);
        assert_eq!(resolver.answer(&[1, 2, 0x80], Carrier::Udp).await, None);
        let answer = resolver.answer(&[1, 2, 1, 0, 0xff, 0xff, 0, 0], Carrier::Udp).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().response_code, ResponseCode::FormErr);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let answer = runtime.block_on(resolver().answer(&bytes, Carrier::Udp));
            if let Some(answer) = answer {
                assert!(answer.len() <= UDP_MOST);
            }
        }
    }
}
