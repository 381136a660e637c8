//! Token formats that their makers have published: by them a placeholder keeps what clients check, and a secret that lies about is known.

/// One format: a beginning that only such tokens have, and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// As people call it.
    pub name: &'static str,
    /// How it begins.
    pub prefix: &'static str,
    /// Which bytes may follow.
    pub alphabet: Alphabet,
    /// How many of them at least.
    pub least: usize,
    /// How many of them at most.
    pub most: usize,
    /// Where such tokens are used, by exact name; empty where each customer has a host of their own, and where the user's tools know it.
    pub hosts: &'static [&'static str],
    /// The variable that its tools read.
    pub variable: &'static str,
}

/// Which bytes a token is made of behind its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Letters and digits.
    Alphanumeric,
    /// Letters, digits, `-` and `_`.
    Url,
    /// The same and `.`.
    Dotted,
    /// `0` to `9` and `a` to `f`.
    Hex,
    /// Capital letters and digits.
    Upper,
}

impl Alphabet {
    /// Whether a token may have this byte.
    #[must_use]
    pub const fn has(self, byte: u8) -> bool {
        match self {
            Self::Alphanumeric => byte.is_ascii_alphanumeric(),
            Self::Url => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_',
            Self::Dotted => byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.',
            Self::Hex => byte.is_ascii_digit() || (byte >= b'a' && byte <= b'f'),
            Self::Upper => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        }
    }
}

const fn format(
    name: &'static str,
    prefix: &'static str,
    alphabet: Alphabet,
    (least, most): (usize, usize),
    hosts: &'static [&'static str],
    variable: &'static str,
) -> Format {
    Format { name, prefix, alphabet, least, most, hosts, variable }
}

const GITHUB: &[&str] = &["api.github.com", "github.com"];

/// Of two that begin alike the longer one stands first.
pub const FORMATS: &[Format] = &[
    format("GitHub fine-grained token", "github_pat_", Alphabet::Url, (60, 100), GITHUB, "GITHUB_TOKEN"),
    format("GitHub token", "ghp_", Alphabet::Alphanumeric, (36, 255), GITHUB, "GITHUB_TOKEN"),
    format("GitHub OAuth token", "gho_", Alphabet::Alphanumeric, (36, 255), GITHUB, "GITHUB_TOKEN"),
    format("GitHub user-to-server token", "ghu_", Alphabet::Alphanumeric, (36, 255), GITHUB, "GITHUB_TOKEN"),
    format("GitHub server-to-server token", "ghs_", Alphabet::Alphanumeric, (36, 255), GITHUB, "GITHUB_TOKEN"),
    format("GitHub refresh token", "ghr_", Alphabet::Alphanumeric, (36, 255), GITHUB, "GITHUB_TOKEN"),
    format("GitLab token", "glpat-", Alphabet::Dotted, (20, 64), &["gitlab.com"], "GITLAB_TOKEN"),
    format("GitLab runner token", "glrt-", Alphabet::Dotted, (20, 64), &["gitlab.com"], "CI_RUNNER_TOKEN"),
    format("Anthropic API key", "sk-ant-", Alphabet::Url, (40, 200), &["api.anthropic.com"], "ANTHROPIC_API_KEY"),
    format("OpenAI project key", "sk-proj-", Alphabet::Url, (40, 200), &["api.openai.com"], "OPENAI_API_KEY"),
    format("OpenRouter key", "sk-or-v1-", Alphabet::Hex, (64, 64), &["openrouter.ai"], "OPENROUTER_API_KEY"),
    format("OpenAI key", "sk-", Alphabet::Alphanumeric, (40, 64), &["api.openai.com"], "OPENAI_API_KEY"),
    format("Stripe live key", "sk_live_", Alphabet::Alphanumeric, (24, 250), &["api.stripe.com"], "STRIPE_API_KEY"),
    format("Stripe test key", "sk_test_", Alphabet::Alphanumeric, (24, 250), &["api.stripe.com"], "STRIPE_API_KEY"),
    format("Stripe restricted key", "rk_live_", Alphabet::Alphanumeric, (24, 250), &["api.stripe.com"], "STRIPE_API_KEY"),
    format("Slack bot token", "xoxb-", Alphabet::Url, (20, 200), &["slack.com"], "SLACK_BOT_TOKEN"),
    format("Slack user token", "xoxp-", Alphabet::Url, (20, 200), &["slack.com"], "SLACK_TOKEN"),
    format("Slack app token", "xapp-", Alphabet::Url, (20, 200), &["slack.com"], "SLACK_APP_TOKEN"),
    format("npm token", "npm_", Alphabet::Alphanumeric, (36, 64), &[], "NPM_TOKEN"),
    format("PyPI token", "pypi-", Alphabet::Url, (50, 400), &[], "TWINE_PASSWORD"),
    format("AWS access key id", "AKIA", Alphabet::Upper, (16, 16), &[], "AWS_ACCESS_KEY_ID"),
    format("AWS temporary key id", "ASIA", Alphabet::Upper, (16, 16), &[], "AWS_ACCESS_KEY_ID"),
    format("Google API key", "AIza", Alphabet::Url, (35, 35), &["generativelanguage.googleapis.com"], "GOOGLE_API_KEY"),
    format("Google OAuth access token", "ya29.", Alphabet::Url, (40, 400), &["www.googleapis.com"], "GOOGLE_OAUTH_ACCESS_TOKEN"),
    format("Hugging Face token", "hf_", Alphabet::Alphanumeric, (30, 64), &["huggingface.co"], "HF_TOKEN"),
    format("DigitalOcean token", "dop_v1_", Alphabet::Hex, (64, 64), &["api.digitalocean.com"], "DIGITALOCEAN_TOKEN"),
    format("SendGrid key", "SG.", Alphabet::Dotted, (60, 70), &["api.sendgrid.com"], "SENDGRID_API_KEY"),
    format("Shopify token", "shpat_", Alphabet::Hex, (32, 32), &[], "SHOPIFY_ACCESS_TOKEN"),
    format("Vault token", "hvs.", Alphabet::Url, (24, 200), &[], "VAULT_TOKEN"),
    format("Databricks token", "dapi", Alphabet::Hex, (32, 32), &[], "DATABRICKS_TOKEN"),
    format("Linear key", "lin_api_", Alphabet::Alphanumeric, (32, 64), &["api.linear.app"], "LINEAR_API_KEY"),
    format("Render key", "rnd_", Alphabet::Alphanumeric, (24, 64), &["api.render.com"], "RENDER_API_KEY"),
    format("Tailscale key", "tskey-", Alphabet::Url, (20, 100), &["api.tailscale.com"], "TS_AUTHKEY"),
    format("Cargo registry token", "cio", Alphabet::Alphanumeric, (32, 32), &[], "CARGO_REGISTRY_TOKEN"),
];

/// The longest published beginning of `text`, where it has one.
#[must_use]
pub(crate) fn prefix_of(text: &str) -> &'static str {
    FORMATS.iter().map(|format| format.prefix).filter(|prefix| text.starts_with(prefix)).max_by_key(|prefix| prefix.len()).unwrap_or_default()
}

/// What is decoded of a JSON Web Token, without knowing whether it is genuine. Both are JSON objects.
#[must_use]
pub fn claims(token: &str) -> Option<(serde_json::Value, serde_json::Value)> {
    use base64::Engine as _;
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.is_empty() || !header.starts_with("eyJ") {
        return None;
    }
    let read = |part: &str| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<serde_json::Value>(&bytes).ok().filter(serde_json::Value::is_object)
    };
    Some((read(header)?, read(payload)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_that_begin_alike_the_longer_stands_first() {
        for (index, format) in FORMATS.iter().enumerate() {
            assert!(format.least <= format.most && !format.prefix.is_empty());
            assert!(FORMATS[..index].iter().all(|before| !format.prefix.starts_with(before.prefix)), "{} is never reached", format.name);
        }
    }

    #[test]
    fn reads_claims() {
        // The example of RFC 7519, section 3.1.
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let (header, payload) = claims(token).unwrap();
        assert_eq!((header["alg"].as_str(), payload["exp"].as_u64()), (Some("HS256"), Some(1_300_819_380)));
        for bad in ["", "a.b.c", "eyJ.eyJ.x", "eyJhIjoxfQ.W10.x", "eyJhIjoxfQ.e30.", "eyJhIjoxfQ.e30.x.y"] {
            assert!(claims(bad).is_none(), "{bad}");
        }
    }
}
