//! A policy file: whatever it holds, it loads or is refused with a text.
#![no_main]

use agentbox_core::policy::{Context, LayerKind, LayerText, Policy};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let context = Context { home: "/home/u".into(), workspace: "/w".into(), ..Context::default() };
    let layer = LayerText { name: "agentbox.toml".to_owned(), base: "/w".into(), kind: LayerKind::Repository { trusted: true }, bytes: data.to_vec() };
    match Policy::load(vec![layer], &context, &mut |_, _| Err("nothing is there".to_owned())) {
        Ok(policy) => drop(policy.explain()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
