//! The process against a provider that is made up.

use std::{
    cell::RefCell,
    io::{Read, Write},
    time::Duration,
};

use agentbox_core::{Destination, HostName, ResourceId, look::Seen, policy::settings::Source};
use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::json;

use super::{transport::Exchange, *};
use crate::look::Answer;

const SECRET: &str = "the-very-secret-token-7f3a";

/// Answers each question in order, and keeps what it was asked.
struct MadeUp {
    answers: RefCell<Vec<Result<Answer, String>>>,
    asked: Rc<RefCell<Vec<Request<Bytes>>>>,
}

impl Transport for MadeUp {
    fn exchange<'a>(&'a self, _destination: &'a Destination, request: Request<Bytes>) -> Exchange<'a> {
        self.asked.borrow_mut().push(request);
        let answer = if self.answers.borrow().is_empty() { Err("no more answers".to_owned()) } else { self.answers.borrow_mut().remove(0) };
        Box::pin(async move { answer })
    }
}

/// Never answers.
struct Silent;

impl Transport for Silent {
    fn exchange<'a>(&'a self, _destination: &'a Destination, _request: Request<Bytes>) -> Exchange<'a> {
        Box::pin(std::future::pending())
    }
}

fn rule() -> CredentialRule {
    CredentialRule {
        name: "looking".into(),
        source: Source::Env("UNUSED".into()),
        hosts: vec![HostName::parse("backboard.railway.com").unwrap()],
        allow: vec!["read".into()],
        expires: None,
        env: Vec::new(),
        files: Vec::new(),
        environment: None,
    }
}

fn request(resource: &str) -> LookRequest {
    LookRequest {
        id: 7,
        resource: ResourceId::new("railway", resource),
        destination: Destination { host: HostName::parse("backboard.railway.com").unwrap(), port: 443, addresses: Vec::new() },
        action: "railway.deploymentRemove".into(),
    }
}

fn answer(value: serde_json::Value) -> Result<Answer, String> {
    Ok(Answer { status: StatusCode::OK, body: Bytes::from(value.to_string().into_bytes()) })
}

fn deployment(name: &str) -> Vec<Result<Answer, String>> {
    let none = json!({ "edges": [] });
    vec![
        answer(
            json!({ "data": { "deployment": { "projectId": "p", "environment": { "id": "e", "name": "production" }, "service": { "id": "s", "name": name } } } }),
        ),
        answer(json!({ "data": { "project": { "id": "p", "name": "shop", "environments": none, "services": none, "volumes": none } } })),
    ]
}

fn look(answers: Vec<Result<Answer, String>>, resource: &str) -> (Result<Seen, String>, Vec<Request<Bytes>>) {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let looker =
        Looker { held: Arc::new(vec![Held::with(rule(), SECRET)]), transport: Box::new(MadeUp { answers: RefCell::new(answers), asked: asked.clone() }) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = runtime.block_on(looker.look(&request(resource)));
    let asked = asked.borrow_mut().drain(..).collect();
    (seen, asked)
}

#[test]
fn looks_with_the_credential_in_one_header() {
    let (seen, asked) = look(deployment("api"), "deployment/d");
    assert_eq!(seen.unwrap().name, "api");
    assert_eq!(asked.len(), 2);
    for request in asked {
        assert_eq!(request.uri(), "/graphql/v2");
        assert_eq!(request.headers()["authorization"], format!("Bearer {SECRET}"));
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(!String::from_utf8_lossy(request.body()).contains(SECRET));
    }
}

#[test]
fn a_secret_that_comes_back_is_not_told() {
    let (seen, _) = look(deployment(&format!("name {SECRET}")), "deployment/d");
    assert!(!seen.unwrap_err().contains(SECRET));
    let (seen, _) = look(vec![answer(json!({ "errors": [{ "message": format!("bad token {SECRET}") }] }))], "deployment/d");
    assert!(!seen.unwrap_err().contains(SECRET));
    let (seen, _) = look(vec![Err(format!("reset while sending {SECRET}"))], "deployment/d");
    assert!(!seen.unwrap_err().contains(SECRET));
}

#[test]
fn nobody_looks_at_what_is_not_known() {
    let (seen, asked) = look(Vec::new(), "account");
    assert!(seen.unwrap_err().contains("nobody knows"));
    assert!(asked.is_empty());
}

/// Speaks to `serve` as the supervisor does.
fn speak(looker: Looker, requests: &[LookRequest], wait: usize) -> Vec<LookAnswer> {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for request in requests {
        ours.write_all(&wire::encode(request).unwrap()).unwrap();
    }
    let supervisor = std::thread::spawn(move || {
        let (mut buffer, mut answers, mut piece) = (Vec::new(), Vec::new(), [0; 4096]);
        while answers.len() < wait {
            let count = ours.read(&mut piece).unwrap();
            assert!(count > 0, "closed early");
            buffer.extend_from_slice(&piece[..count]);
            while let Some(answer) = wire::decode::<LookAnswer>(&mut buffer).unwrap() {
                answers.push(answer);
            }
        }
        answers
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, serve(Rc::new(looker), theirs)).unwrap();
    supervisor.join().unwrap()
}

#[test]
fn answers_by_id_and_ends_with_its_supervisor() {
    let looker = Looker { held: Arc::default(), transport: Box::new(Silent) };
    let answers = speak(looker, &[request("deployment/d")], 1);
    assert_eq!(answers[0].id, 7);
    assert!(answers[0].seen.as_ref().unwrap_err().contains("no credential looks at backboard.railway.com"));
}

#[test]
fn a_provider_that_says_nothing_is_not_waited_for() {
    let looker = Looker { held: Arc::new(vec![Held::with(rule(), SECRET)]), transport: Box::new(Silent) };
    let requests: Vec<LookRequest> = (0..100).map(|id| LookRequest { id, ..request("deployment/d") }).collect();
    let answers = speak(looker, &requests, 100);
    let says = |word: &str| answers.iter().filter(|answer| answer.seen.as_ref().is_err_and(|why| why.contains(word))).count();
    assert_eq!(says("did not answer"), AT_ONCE + MOST_WAITING);
    assert_eq!(says("too many"), 100 - AT_ONCE - MOST_WAITING);
}
