//! A session for which the process that holds the password logs in: asks, hands the wish over with its token, and gets the stream.

use agentbox_core::{Credential, Digest, Effect, Operation, Refusal};

use super::{Asking, Question};
use crate::{
    http::{
        Right,
        carrier::{Instead, Session, Wish},
        permit,
    },
    upstream::UpstreamStream,
};

/// Why nobody is logged in.
pub(crate) enum NotKeyed {
    /// The client has gone.
    Gone,
    /// The policy, or a person, said no.
    Refused(Refusal),
    /// Nothing was sent.
    Unreachable(String),
    /// The holder does not do it, or the server broke off.
    Failed(String),
}

/// Logs in with an issued credential, which everything in the session is judged with from then on. `action` and `path` are the log-in's own.
pub(crate) async fn keyed(asking: &mut Asking, action: &str, path: &str, position: String, credential: &str, wish: Wish) -> Result<UpstreamStream, NotKeyed> {
    let broker = asking.broker.clone();
    let Some(carrier) = &broker.carrier else { return Err(NotKeyed::Failed("this box has no credentials".to_owned())) };
    asking.credentials = vec![Credential { position, name: credential.to_owned(), issued: true }];
    let digest: Digest = wish.digest(&asking.destination, credential).ok_or_else(|| NotKeyed::Failed("the session names no user".to_owned()))?;
    let operation = Operation::new(Effect::Read, action, asking.resource(path), "logs in with what the box was given for it");
    let mut question = asking.request(Question { operations: vec![operation], parts: &[], what: "(logs in)", excerpt: String::new() });
    question.digest = digest;
    let asked = tokio::select! {
        biased;
        () = asking.presence.gone() => return Err(NotKeyed::Gone),
        asked = permit(&broker, question) => asked,
    };
    let promise = match asked {
        Ok(Right::Promised(promise)) => promise,
        // The supervisor alone can release a credential: see `permit`.
        Ok(Right::Plain(_)) => return Err(NotKeyed::Failed("a credential was not asked about".to_owned())),
        Err(why) => {
            asking.remember("(logs in)", &why);
            return Err(NotKeyed::Refused(why));
        }
    };
    let session = Session::new(promise.number(), promise.nonce(), &asking.destination, credential, wish);
    let reached = tokio::select! {
        biased;
        () = asking.presence.gone() => return Err(NotKeyed::Gone),
        reached = carrier.tunnel(&session) => reached,
    };
    match reached {
        Ok(stream) => {
            broker.line.done(promise.handed_over(), "the session was begun");
            Ok(UpstreamStream::Carried(Box::new(stream)))
        }
        Err(Instead::Unreachable(why)) => {
            promise.forgo(&format!("nothing was sent: {why}"));
            Err(NotKeyed::Unreachable(why))
        }
        Err(Instead::Refused(why) | Instead::Broken(why)) => {
            broker.line.done(promise.handed_over(), &why);
            Err(NotKeyed::Failed(why))
        }
    }
}
