//! The real line to a supervisor that is played by the test: ask, permit, redeem, done, gone, and the records of plain allowances.

use agentbox_core::wire::{self, ToBroker, ToSupervisor};
use tokio::net::UnixStream;

use super::*;
use crate::{line::Supervisor, remote_gate::RemoteGate};

const DELETE: &[u8] = b"DELETE /v1/volumes/1 HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";

/// The supervisor's end.
struct End {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl End {
    async fn hear(&mut self) -> ToSupervisor {
        loop {
            if let Some(message) = wire::decode(&mut self.buffer).unwrap() {
                return message;
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "the broker closed the line");
        }
    }

    async fn say(&mut self, message: &ToBroker) {
        self.stream.write_all(&wire::encode(message).unwrap()).await.unwrap();
    }

    async fn asked(&mut self) -> (u64, Request) {
        match self.hear().await {
            ToSupervisor::Ask { ask, request } => (ask, *request),
            other => panic!("{other:?}"),
        }
    }
}

async fn with_supervisor(far: &Far) -> (Stage, End) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let (gate, ended) = RemoteGate::start(ours).unwrap();
    tokio::spawn(ended);
    let mut stage = Stage::new(Say::Bomb, far.address);
    Arc::get_mut(&mut stage.broker).unwrap().line = Box::new(Supervisor { gate, session: "s".into() });
    theirs.set_nonblocking(true).unwrap();
    (stage, End { stream: UnixStream::from_std(theirs).unwrap(), buffer: Vec::new() })
}

#[test]
fn a_permit_is_redeemed_and_its_end_is_told() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (stage, mut end) = with_supervisor(&far).await;
        let mut client = stage.connect(API, 80).await;
        client.write_all(DELETE).await.unwrap();
        let (ask, request) = end.asked().await;
        assert_eq!(request.evidence.summary, "DELETE http://api.example:80/v1/volumes/1");
        let (token, stub) = permit_for(&request).into_token([7; 16]);
        let nonce = token.nonce().to_owned();
        end.say(&ToBroker::Permitted { ask, token }).await;
        match end.hear().await {
            ToSupervisor::Redeem { ask: redeemed, nonce: shown, digest } => assert_eq!((redeemed, &shown, digest), (ask, &nonce, request.digest)),
            other => panic!("{other:?}"),
        }
        assert!(far.lines().is_empty(), "nothing before the redeem");
        end.say(&ToBroker::Redeemed { ask, proof: stub.strike() }).await;
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 200"));
        match end.hear().await {
            ToSupervisor::Done { ask: done, outcome } => assert_eq!((done, outcome.as_str()), (ask, "answered 200")),
            other => panic!("{other:?}"),
        }
        assert_eq!(far.lines().len(), 1);
    });
}

#[test]
fn a_proof_for_another_token_opens_nothing() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (stage, mut end) = with_supervisor(&far).await;
        let mut client = stage.connect(API, 80).await;
        client.write_all(DELETE).await.unwrap();
        let (ask, request) = end.asked().await;
        end.say(&ToBroker::Permitted { ask, token: permit_for(&request).into_token([7; 16]).0 }).await;
        assert!(matches!(end.hear().await, ToSupervisor::Redeem { .. }));
        end.say(&ToBroker::Redeemed { ask, proof: permit_for(&request).into_token([8; 16]).1.strike() }).await;
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 403"));
        assert!(far.lines().is_empty());
    });
}

#[test]
fn a_permit_for_another_request_opens_nothing() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (stage, mut end) = with_supervisor(&far).await;
        let mut client = stage.connect(API, 80).await;
        client.write_all(DELETE).await.unwrap();
        let (ask, mut request) = end.asked().await;
        request.digest = agentbox_core::Digest::of([&b"other"[..]]);
        end.say(&ToBroker::Permitted { ask, token: permit_for(&request).into_token([7; 16]).0 }).await;
        assert!(listen(&mut client).await.starts_with("HTTP/1.1 403"));
        assert!(matches!(end.hear().await, ToSupervisor::Gone { .. }), "it is not redeemed");
        assert!(far.lines().is_empty());
    });
}

#[test]
fn a_client_that_goes_is_told_as_gone_and_a_late_permit_is_not_redeemed() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (stage, mut end) = with_supervisor(&far).await;
        let mut client = stage.connect(API, 80).await;
        client.write_all(DELETE).await.unwrap();
        let (ask, request) = end.asked().await;
        drop(client);
        match end.hear().await {
            ToSupervisor::Gone { ask: gone } => assert_eq!(gone, ask),
            other => panic!("{other:?}"),
        }
        end.say(&ToBroker::Permitted { ask, token: permit_for(&request).into_token([7; 16]).0 }).await;
        // The next thing said is about another request.
        stage.raw(b"GET /next HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").await;
        match end.hear().await {
            ToSupervisor::Record { drafts } => assert_eq!(drafts[0].summary, "GET http://api.example:80/next"),
            other => panic!("{other:?}"),
        }
        assert_eq!(far.lines(), ["GET /next"]);
    });
}

#[test]
fn plain_allowances_are_recorded_in_order_and_none_is_lost() {
    run(async {
        let far = Far::start(Cloth::Clear).await;
        let (stage, mut end) = with_supervisor(&far).await;
        let mut client = stage.connect(API, 80).await;
        for number in 0..300 {
            client.write_all(format!("GET /{number} HTTP/1.1\r\nHost: api.example\r\n\r\n").as_bytes()).await.unwrap();
        }
        let mut summaries = Vec::new();
        while summaries.len() < 300 {
            match end.hear().await {
                ToSupervisor::Record { drafts } => summaries.extend(drafts.into_iter().map(|draft| draft.summary)),
                other => panic!("{other:?}"),
            }
        }
        let expected: Vec<String> = (0..300).map(|number| format!("GET http://api.example:80/{number}")).collect();
        assert_eq!(summaries, expected);
    });
}

#[test]
fn a_supervisor_that_dies_or_talks_nonsense_refuses_what_waits() {
    for nonsense in [None, Some(&b"\xff\xff\xff\xff"[..])] {
        run(async {
            let far = Far::start(Cloth::Clear).await;
            let (stage, mut end) = with_supervisor(&far).await;
            let mut client = stage.connect(API, 80).await;
            client.write_all(DELETE).await.unwrap();
            end.asked().await;
            if let Some(bytes) = nonsense {
                end.stream.write_all(bytes).await.unwrap();
            } else {
                drop(end);
            }
            let answer = listen(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("supervisor"), "{answer}");
            assert!(far.lines().is_empty());
        });
    }
}
