//! A session whose client proves a placeholder: the process that holds the password proves that one to the server.

use std::io;

use agentbox_core::RefusalKind;
use tokio::time::timeout;

use super::{
    greeting::{Greeting, LONGEST, Login},
    login::Pair,
    packets::{Malformed, packet},
    proofs::{CACHING, proof},
    refusal,
};
use crate::{
    broker::Broker,
    http::{carrier::Wish, refusal as no},
    session::{Asking, Duplex, FAREWELL, NotKeyed, Reader, keyed, last_words},
};

/// The credential whose placeholder the client has proven.
pub(super) fn named(broker: &Broker, login: &Login, greeting: &Greeting) -> Option<String> {
    broker.carrier.as_ref()?;
    let plugin = login.plugin.as_deref().unwrap_or(&greeting.plugin);
    let shown = login.proof.strip_suffix(b"\0").unwrap_or(&login.proof);
    let is_shown = |placeholder: &[u8]| match plugin {
        "mysql_clear_password" => shown == placeholder,
        plugin => proof(plugin, placeholder, &greeting.nonce).is_some_and(|proof| proof == login.proof),
    };
    broker.issued.found(is_shown).map(str::to_owned)
}

/// Logs in with it. Gives both ends, and the number and body of the server's word of success, which the client has not got yet; `None` where the client
/// was told why not.
pub(super) async fn log_in(
    asking: &mut Asking,
    mut client: Reader<Box<dyn Duplex>>,
    login: &Login,
    greeting: &Greeting,
    name: &str,
    number: u8,
) -> io::Result<Option<(Pair, u8, bytes::Bytes)>> {
    let path = if asking.database.is_empty() { "server".to_owned() } else { format!("database/{}", asking.database) };
    let wish = Wish::MySql { login: login.without_proof().body() };
    let position = format!("MySQL password of the user {}", asking.user);
    let told = match keyed(asking, "mysql.connect", &path, position, name, wish).await {
        Ok(stream) => {
            let mut far = Reader::new(stream);
            let Some((_, body)) = timeout(FAREWELL, far.packet(LONGEST)).await?? else { return Err(Malformed::Short.into()) };
            if body.first() == Some(&0xff) {
                packet(number, &body)
            } else {
                let mut number = number;
                if login.plugin.as_deref().unwrap_or(&greeting.plugin) == CACHING {
                    // Its clients wait for a word on their proof before that of success.
                    timeout(FAREWELL, client.write(&packet(number, &[1, 3]))).await??;
                    number = number.wrapping_add(1);
                }
                return Ok(Some((Pair { client, far }, number, body)));
            }
        }
        Err(NotKeyed::Gone) => return Ok(None),
        Err(NotKeyed::Refused(why)) => refusal::error(number, &why),
        Err(NotKeyed::Unreachable(why)) => refusal::plain(number, &why),
        Err(NotKeyed::Failed(why)) => {
            asking.remember("(logs in)", &no(RefusalKind::Denied, "mysql.connect", "", &why, "Tell the person who started this box."));
            refusal::plain(number, &why)
        }
    };
    last_words(client.stream(), &told).await.map(|()| None)
}
