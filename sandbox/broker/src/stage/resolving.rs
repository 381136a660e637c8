//! The box's resolver over real sockets, and the way from a name to its connection.

use std::net::UdpSocket;

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use nix::sys::socket::{setsockopt, sockopt};

use super::*;
use crate::{
    broker::{denied, reading},
    dns::{self, Reading, Resolver},
};

fn resolver(stage: &Stage) -> Arc<Resolver> {
    let policy = stage.broker.policy.clone();
    Arc::new(Resolver {
        names: stage.broker.names.clone(),
        reading: Box::new(move |name| reading(&policy, name)),
        denied: denied(&stage.broker),
        own: stage.broker.own.clone(),
    })
}

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

const PLACES: &str = "[place.silent]\nhosts = [\"held.example\"]\nread = \"hold\"\nwrite = \"hold\"\ndestroy = \"hold\"\n\
     [place.shut]\nhosts = [\"*.shut.example\"]\nread = \"deny\"\nwrite = \"deny\"\ndestroy = \"deny\"\n";

#[test]
fn what_may_be_asked_outside_is_what_may_be_read() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::with(Say::Bomb, far.address, Vec::new(), PLACES);
        let of = |name: &str| reading(&stage.broker.policy, &HostName::parse(name).unwrap());
        assert_eq!(of(API), Reading::Silent, "mapped");
        assert_eq!(of("anything.example"), Reading::Allowed);
        assert_eq!(of("held.example"), Reading::Silent);
        assert_eq!(of("secret.shut.example"), Reading::Denied);
        assert_eq!(of("localhost"), Reading::Denied);
    });
}

#[test]
fn answers_come_from_the_address_that_was_asked() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::with(Say::Bomb, far.address, Vec::new(), PLACES);
        // All of 127.0.0.0/8 is local: a wildcard socket stands for any server's address.
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(dns::serve_udp(socket, resolver(&stage), dns::places()));
        for server in ["127.0.0.1", "127.8.8.8"] {
            let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // A connected socket takes answers from that address only.
            client.connect((server, port)).await.unwrap();
            client.send(&question("held.example.", RecordType::A)).await.unwrap();
            let mut buffer = [0; 512];
            let count = client.recv(&mut buffer).await.unwrap();
            let answer = Message::from_vec(&buffer[..count]).unwrap();
            let address = answer.answers[0].data.ip_addr().unwrap();
            assert_eq!(stage.broker.names.name(address), Some(HostName::parse("held.example").unwrap()));
        }
    });
}

#[test]
fn over_tcp_too_one_question_after_another() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::with(Say::Bomb, far.address, Vec::new(), PLACES);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, _) = listener.accept().await.unwrap();
        tokio::spawn(dns::serve_tcp(served, resolver(&stage)));
        for (name, kind, code, answers) in [
            ("api.example.", RecordType::A, ResponseCode::NoError, 1),
            ("api.example.", RecordType::AAAA, ResponseCode::NoError, 1),
            ("api.example.", RecordType::TXT, ResponseCode::NoError, 0),
            ("api.example.", RecordType::HTTPS, ResponseCode::NoError, 0),
            ("held.example.", RecordType::SRV, ResponseCode::NoError, 0),
            ("c2VjcmV0.shut.example.", RecordType::A, ResponseCode::NXDomain, 0),
            ("agentbox.internal.", RecordType::A, ResponseCode::NoError, 1),
        ] {
            let asked = question(name, kind);
            client.write_u16(u16::try_from(asked.len()).unwrap()).await.unwrap();
            client.write_all(&asked).await.unwrap();
            let mut answer = vec![0; usize::from(client.read_u16().await.unwrap())];
            client.read_exact(&mut answer).await.unwrap();
            let answer = Message::from_vec(&answer).unwrap();
            assert_eq!((answer.response_code, answer.answers.len()), (code, answers), "{name} {kind}");
        }
        assert!(stage.why().contains("c2vjcmv0.shut.example"), "{}", stage.why());
    });
}

#[test]
fn names_of_the_hosts_file_exist_and_invented_ones_do_not() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let stage = Stage::with(Say::Bomb, far.address, Vec::new(), "");
        let answer = resolver(&stage).answer(&question("surely-not-there.invalid.", RecordType::A), dns::Carrier::Udp).await.unwrap();
        let code = Message::from_vec(&answer).unwrap().response_code;
        assert!(matches!(code, ResponseCode::NXDomain | ResponseCode::ServFail), "{code}");
    });
}
