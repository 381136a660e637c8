//! A client that refuses the box's certificate: told to `agentbox why`, because the client's own words seldom say what would help.

use std::io;

use agentbox_core::{Destination, Refusal, RefusalKind};
use rustls::{AlertDescription, Error};

/// What a failed handshake says of its client, where it says something that helps.
pub(crate) fn explain(error: &io::Error, destination: &Destination) -> Option<Refusal> {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let (reason, guidance) = match cause {
        Some(Error::AlertReceived(alert)) if refuses_certificate(*alert) => (format!("this client pins its certificates: {destination}"), pinned(destination)),
        Some(Error::NoApplicationProtocol) => (
            format!("this client speaks neither HTTP/2 nor HTTP/1 inside TLS: {destination}"),
            format!("Such a host needs `pass-through = [\"{}\"]` in the user's policy; the whole connection is then asked about.", destination.host),
        ),
        Some(_) => return None,
        // Hello, our certificate, and then the end: some clients say nothing of why they go.
        None if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            (format!("this client went when it saw the box's certificate, so it probably pins its certificates: {destination}"), pinned(destination))
        }
        None => return None,
    };
    Some(Refusal { kind: RefusalKind::Failed, operation: "tls.pinned".to_owned(), place: String::new(), reason, guidance, approval_id: None })
}

/// Alerts by which a client refuses a certificate (RFC 8446, section 6.2).
fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

fn pinned(destination: &Destination) -> String {
    format!(
        "If the program can be told which authority to trust, give it the file that $SSL_CERT_FILE names in the box. Else ask the person for \
         `pass-through = [\"{}\"]` in their own policy: the host is then not looked into, and each connection to it is asked about as a whole.",
        destination.host
    )
}

#[cfg(test)]
mod tests {
    use agentbox_core::HostName;

    use super::*;

    fn of(error: io::Error) -> Option<String> {
        let to = Destination { host: HostName::parse("api.example").unwrap(), port: 443, addresses: Vec::new() };
        explain(&error, &to).map(|refusal| format!("{} {}", refusal.reason, refusal.guidance))
    }

    #[test]
    fn says_the_host_and_the_line_that_helps() {
        let told = of(io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(AlertDescription::UnknownCA))).unwrap();
        assert!(told.starts_with("this client pins its certificates: api.example:443 ") && told.contains("pass-through = [\"api.example\"]"), "{told}");
        assert!(of(io::ErrorKind::UnexpectedEof.into()).unwrap().contains("probably pins"));
        assert!(of(io::Error::new(io::ErrorKind::InvalidData, Error::NoApplicationProtocol)).unwrap().contains("neither HTTP/2"));
        assert_eq!(of(io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(AlertDescription::CloseNotify))), None);
        assert_eq!(of(io::ErrorKind::TimedOut.into()), None);
    }
}
