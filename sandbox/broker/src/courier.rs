//! One bounded POST, or one letter, to where the user's own policy says, over verified TLS: for the process that carries cards. Nothing of the agent's goes this way but what a card shows.

use std::sync::Arc;

use agentbox_core::{
    Destination,
    policy::{Policy, settings::Mail},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};

use crate::{looker::Direct, smtp};

/// The way out.
pub struct Courier(Direct);

impl Courier {
    /// Reads the policy's roots and the proxy variables. Call it before the process is fenced.
    ///
    /// # Errors
    /// One sentence.
    pub fn new(policy: Arc<Policy>) -> Result<Self, String> {
        Direct::new(policy, |name| std::env::var(name).ok()).map(Self)
    }

    /// Posts, and gives the status. No redirect is followed.
    ///
    /// # Errors
    /// One sentence, without the body and the headers.
    pub async fn post(&self, destination: &Destination, target: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Result<u16, String> {
        let mut request = Request::post(target).body(Bytes::from(body)).map_err(|_| "its URL has no valid path".to_owned())?;
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| format!("the header {name} cannot be sent"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self.0.send(destination, request).await.map(|answer| answer.status.as_u16())
    }

    /// Hands a letter to a relay, and gives its last code.
    ///
    /// # Errors
    /// One sentence, without the letter.
    pub async fn mail(
        &self,
        destination: &Destination,
        mail: &Mail,
        password: Option<&str>,
        headers: &[(&'static str, String)],
        body: &[u8],
    ) -> Result<u16, String> {
        let mut letter = format!("from: agentbox <{}>\r\nto: {}\r\n", mail.from, mail.to.join(",\r\n "));
        for (name, value) in headers {
            letter.push_str(&format!("{name}: {value}\r\n"));
        }
        let letter = [letter.as_bytes(), b"\r\n", body].concat();
        smtp::send(&self.0.connector, destination, mail, password, &letter).await
    }
}
