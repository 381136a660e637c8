//! The filter against what programs draw with, known tricks, and any bytes in any pieces.

use proptest::{collection::vec, num::u8::ANY, prop_assert, prop_assert_eq, prop_oneof, proptest, sample::select, strategy::Strategy};

use super::{
    Filter,
    sequences::{csi_passes, escape_passes, intermediate_passes, osc_passes},
};

fn filtered(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Filter::default().pass(bytes, &mut out);
    out
}

#[track_caller]
fn passes(text: &str) {
    assert_eq!(String::from_utf8_lossy(&filtered(text.as_bytes())), text, "must pass unchanged");
}

#[track_caller]
fn drops(bytes: &[u8]) {
    comes_out(bytes, b"");
}

#[track_caller]
fn comes_out(bytes: &[u8], what: &[u8]) {
    let framed = [b"<".as_slice(), bytes, b">"].concat();
    let expected = [b"<".as_slice(), what, b">"].concat();
    assert_eq!(String::from_utf8_lossy(&filtered(&framed)), String::from_utf8_lossy(&expected), "of {:?}", String::from_utf8_lossy(bytes));
    let mut filter = Filter::default();
    let mut out = Vec::new();
    for byte in &framed {
        filter.pass(&[*byte], &mut out);
    }
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected), "byte by byte");
}

#[test]
fn what_programs_draw_with_passes() {
    passes("plain\ttext\r\nünïcödé 日本語 🙂👩‍👩‍👧 \u{a0}\u{bf}\n\x07\x08\x0e\x0f\x0b\x0c");
    passes("\x1b[1;38;2;10;20;30m\x1b[48;5;201mcolour\x1b[0m\x1b[4:3m\x1b[38:2::1:2:3m\x1b[m");
    passes("\x1b[?1049h\x1b[2J\x1b[H\x1b[?25l\x1b[?2004h\x1b[?1006h\x1b[?1000;1002;1006h\x1b[?2026h\x1b[?2026$p\x1b[?1004l");
    passes("\x1b[>1u\x1b[=5;1u\x1b[?u\x1b[<u\x1b[>4;2m\x1b[>4n\x1b[6n\x1b[?6n\x1b[?996n\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1b[>q\x1b[5n");
    passes("\x1b7\x1b8\x1bM\x1bc\x1b(B\x1b)0\x1b#8\x1b=\x1b>\x1b[!p\x1b[2 q\x1b%G\x1b(%5");
    passes("\x1b[14t\x1b[16t\x1b[18t\x1b[22;0t\x1b[23;0;0t\x1b[10;20r\x1b[s\x1b[u\x1b[3b\x1b[4h\x1b[4l\x1b[34l\x1b[?1c\x1b[2T\x1b[9999;9999H");
    passes("\x1b]0;title – ünï\x1b\\\x1b]2;title\x07\x1b]11;?\x1b\\\x1b]10;?\x07\x1b]4;1;rgb:ff/00/00;2;?\x07\x1b]104\x07\x1b]104;1;2\x07\x1b]112\x07");
    passes("\x1b]8;;https://example.com/?q=1;2\x1b\\link\x1b]8;;\x1b\\\x1b]8;id=7;http://a\x07b\x1b]8;;\x07");
    passes("\x1b]133;A\x1b\\\x1b]133;D;0\x07\x1b]9;4;1;50\x1b\\\x1b]9;4;0;\x07");
}

/// What `TERM` names of terminfo make programs send, as far as it is fixed.
#[test]
fn what_terminfo_says_for_xterm_tmux_and_linux_passes() {
    for sequence in [
        "\x1b[?1h\x1b=",
        "\x1b[?1l\x1b>",
        "\x1b[?12l\x1b[?25h",
        "\x1b[?12;25h",
        "\x1b[?25l",
        "\x1b[?1034h",
        "\x1b[?5h",
        "\x1b[?5l",
        "\x1b[?7h",
        "\x1b[?1049h\x1b[22;0;0t",
        "\x1b[?1049l\x1b[23;0;0t",
        "\x1b[!p",
        "\x1b[4l",
        "\x1b[H\x1b[2J\x1b[3J",
        "\x1b[1K",
        "\x1b[J",
        "\x1b(B\x1b[m",
        "\x1b(0",
        "\x1b[39;49m",
        "\x1b[34h\x1b[?25h",
        "\x1b[?25h\x1b[?0c",
        "\x1b[?25l\x1b[?1c",
        "\x1bH",
        "\x1b[3g",
        "\x1b[Z",
        "\x1b[2d",
        "\x1b[3G",
        "\x1bD",
        "\x1b[L",
        "\x1b[5@",
        "\x1b[6X",
    ] {
        passes(sequence);
    }
    // The rest of xterm's reset would resize; the console's palette is left alone, and swallows nothing.
    comes_out(b"\x1bc\x1b[!p\x1b[?3;4l\x1b[4l\x1b>", b"\x1bc\x1b[!p\x1b[4l\x1b>");
    comes_out(b"\x1bc\x1b]Rtext\x1b]P0a1b2c3more", b"\x1bctextmore");
}

#[test]
fn what_could_act_is_dropped() {
    for osc in [
        "52;c;aGVsbG8=",
        "52;c;?",
        "52;;",
        "052;c;QQ==",
        "5;52;c;QQ==",
        "1337;File=name=x:AAAA",
        "1337;SetUserVar=a=b",
        "50;font",
        "50;?",
        "51;[\"call\",\"x\"]",
        "7;file://h/x",
        "6;/tmp/x",
        "9;you have mail",
        "9;9;/tmp",
        "9;40;1",
        "99;;hello",
        "777;notify;a;b",
        "633;E;rm",
        "22;pointer",
        "3;WM_NAME=x",
        "46;/tmp/log",
        "66;s=2;big",
        "5522;type=read",
        "l title",
        "I/tmp/icon",
        "L",
        "",
        ";",
        "8;;file:///etc/passwd",
        "8;;ssh://-oProxyCommand=x",
        "8;;javascript:x",
        "8;;vscode://x",
        "8;;HTTPS:x",
        "8",
        "8;",
        "133;A;cmdline=rm",
        "133;a",
        "133",
        "11;?\t",
        "4;x;?",
        "4;1;(",
        "104;x",
        "10;rgb:\u{e9}",
    ] {
        drops(format!("\x1b]{osc}\x07").as_bytes());
        drops(format!("\x1b]{osc}\x1b\\").as_bytes());
    }
    for string in [
        "\x1bP@kitty-cmd{}\x1b\\",
        "\x1bP$qm\x1b\\",
        "\x1bP+q544e\x1b\\",
        "\x1bP=1s\x1b\\",
        "\x1bPq#0;2;0;0;0~\x1b\\",
        "\x1bP0;1|17/68\x1b\\",
        "\x1bP1!z41\x1b\\",
        "\x1b_Gf=100,t=f;L2V0Yw==\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1bktitle\x1b\\",
    ] {
        drops(string.as_bytes());
    }
    for csi in [
        "20t",
        "21t",
        "1t",
        "2t",
        "3;0;0t",
        "4;1;1t",
        "8;50;50t",
        "9;1t",
        "19;0t",
        "40t",
        "t",
        ">0t",
        ">2T",
        "5i",
        "?5i",
        "4i",
        "i",
        "1;1;1;1;1;1*y",
        "1*z",
        "1$w",
        "2$w",
        "1$u",
        "&u",
        "x",
        "1x",
        "0;1y",
        "62\"p",
        "61;0\"p",
        "?2l",
        "?2h",
        "?3h",
        "?38h",
        "?40h",
        "?1001h",
        "?1041h",
        "?1042h",
        "?1043h",
        "?1044h",
        "?5522h",
        "?9001h",
        "?1049;1041h",
        "?25;3l",
        "?h",
        "2h",
        "12h",
        "20h",
        "?26n",
        "?15n",
        "?62n",
        "0n",
        "1;2'z",
        "'|",
        "'{",
        "132$|",
        "50*|",
        "$}",
        "1$~",
        "+p",
        "#|",
        "#P",
        "1;1;1;1;1T",
        "1[",
        "2q",
        "1;?25h",
        "<1;1;1M",
        ">?1c",
        "1 2A",
        "999999b",
        "4294967295b",
        "0000001A",
    ] {
        drops(format!("\x1b[{csi}").as_bytes());
    }
    for escape in [
        "\x1b%@", "\x1b%/G", "\x1b F", "\x1b G", "\x1bl", "\x1bm", "\x1bn", "\x1b|", "\x1b}", "\x1b~", "\x1b`", "\x1bb", "\x1b1", "\x1b<", "\x1bV", "\x1bW",
        "\x1b#2", "\x1b!0", "\x1b((B",
    ] {
        drops(escape.as_bytes());
    }
    for byte in (0..7).chain(0x10..0x1b).chain(0x1c..0x20).chain([0x7f]) {
        drops(&[byte]);
    }
}

/// The spellings and splits with which filters were got past before.
#[test]
fn known_tricks_do_not_pass() {
    // tmux's and screen's passthrough: the escape inside is doubled.
    drops(b"\x1bPtmux;\x1b\x1b]52;c;aGVsbG8=\x07");
    comes_out(b"\x1bPtmux;\x1b\x1b]52;c;aGVsbG8=\x07\x1b\\", b"\x1b\\");
    drops(b"\x1bP\x1b]52;c;aGVsbG8=\x07");
    // C1 as one byte: what a terminal of UTF-8 shows, and one of eight bits does not obey.
    comes_out(b"\x9d52;c;aGVsbG8=\x07", "\u{fffd}52;c;aGVsbG8=\x07".as_bytes());
    comes_out(b"\x9b5i\x90\x9c\x85", "\u{fffd}5i\u{fffd}\u{fffd}\u{fffd}".as_bytes());
    // C1 in UTF-8, which some terminals obey; and overlong, which some decode.
    comes_out("\u{9d}52;c;x\u{9c}\u{9b}5i\u{90}\u{84}\u{85}".as_bytes(), b"52;c;x5i");
    comes_out(
        b"\xe0\x82\x9d52\xf0\x80\x82\x9d\xc1\x9b\xc0\x9b",
        "\u{fffd}\u{fffd}\u{fffd}52".as_bytes().iter().copied().chain("\u{fffd}".repeat(8).bytes()).collect::<Vec<_>>().as_slice(),
    );
    // A character that breaks off must not take an escape with it.
    comes_out(b"\xe2\x1b]52;c;x\x07\xf0\x9f\x1b[5i\xc3\x1b[1m", "\u{fffd}\u{fffd}\u{fffd}\x1b[1m".as_bytes());
    // Escapes inside sequences, and controls inside them.
    comes_out(b"\x1b\x1b[1m", b"\x1b[1m");
    comes_out(b"\x1b[12\x1b[1m", b"\x1b[1m");
    drops(b"\x1b]0;a\x1b]52;c;x\x07");
    drops(b"\x1b]\x1b]52;c;x\x07");
    comes_out(b"\x1b\x18]52;c;x\x07", b"]52;c;x\x07");
    comes_out(b"\x1b[\x1b\x1b]52;c;x\x1b\\", b"");
    comes_out(b"\x1b\n]52;c;x", b"\n]52;c;x");
    comes_out(b"\x1b\x00]52;c;x", b"]52;c;x");
    comes_out(b"\x1b[5\ni", b"\ni");
    comes_out(b"\x1b]5\x002;c;x\x07", b"");
    comes_out(b"\x1b(\x1b]52;c;x\x07", b"");
    // Nothing that was dropped may leave halves that join to something new.
    comes_out(b"\x1b\x05]52;c;x", b"]52;c;x");
    comes_out(b"\x1b\x1bPq\x1b\\]52;c;x", b"]52;c;x");
    comes_out(b"\x1b[5\x1b_x\x1b\\i", b"i");
    comes_out(b"\x1b[[A", b"A");
    // A title with an escape or newline would be typed by the title's report.
    comes_out(b"\x1b]2;a\x1b[31mb\x07", b"\x1b[31mb\x07");
    comes_out(b"\x1b]2;a\nb\x07", b"\x1b]2;a\\u{a}b\x07");
    comes_out("\x1b]2;a\u{202e}b\x07".as_bytes(), b"\x1b]2;a\\u{202e}b\x07");
    // Leaving UTF-8 would turn this character's last byte into OSC.
    comes_out("\x1b%@\u{271d}52;c;x".as_bytes(), "\u{271d}52;c;x".as_bytes());
}

#[test]
fn titles_are_made_safe_and_cut() {
    let out = filtered(format!("\x1b]2;{}\x07", "x".repeat(3000)).as_bytes());
    assert!(out.len() < 300 && out.starts_with(b"\x1b]2;xxx") && out.ends_with(b"\x07"), "{out:?}");
    drops(b"\x1b]2;\xff\x07");
}

#[test]
fn an_unterminated_sequence_does_not_blind_for_ever() {
    for start in ["\x1b]52;c;", "\x1bP", "\x1b_", "\x1b[", "\x1b["] {
        let mut bytes = start.as_bytes().to_vec();
        bytes.extend(std::iter::repeat_n(b'1', (1 << 20) + 5000));
        bytes.extend_from_slice(b"visible");
        assert!(filtered(&bytes).ends_with(b"visible"), "{start:?}");
    }
    assert_eq!(filtered(b"\x1b]52;c;AAA\x18visible"), b"visible");
    assert_eq!(filtered(b"\x1bPxyz\x1b[1mvisible"), b"\x1b[1mvisible");
    assert_eq!(filtered(&[b"\x1b[".as_slice(), &[b'1'; 5000], b"mvisible"].concat()), b"visible");
    assert_eq!(filtered(&[b"\x1b".as_slice(), &[b' '; 5000], b"visible"].concat()).last(), Some(&b'e'));
}

#[test]
fn memory_is_bounded() {
    let mut filter = Filter::default();
    let mut out = Vec::new();
    for start in [&b"\x1b]0;"[..], b"\x1b[", b"\x1b ", b"\x1bP"] {
        filter.pass(start, &mut out);
        for _ in 0..100 {
            filter.pass(&[b'0'; 1000], &mut out);
            filter.pass(&[b' '; 1000], &mut out);
        }
        assert!(filter.held_capacity() <= 16 << 10, "{}", filter.held_capacity());
        filter.pass(b"\x18\x07", &mut out);
    }
}

/// Splits what came out into the items that may, by other means than the filter's own.
fn is_all_items(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        if first != '\x1b' {
            if first.is_control() && !('\x07'..='\x0f').contains(&first) {
                return false;
            }
            rest = after;
        } else if let Some(osc) = after.strip_prefix(']') {
            let Some(end) = osc.find(['\x07', '\x1b']) else { return false };
            let (body, tail) = osc.split_at(end);
            if osc_passes(body.as_bytes()).is_none_or(|passes| passes != body.as_bytes()) {
                return false;
            }
            let Some(tail) = tail.strip_prefix('\x07').or_else(|| tail.strip_prefix("\x1b\\")) else { return false };
            rest = tail;
        } else {
            let csi = after.strip_prefix('[');
            let body = csi.unwrap_or(after);
            let Some(end) = body.find(|c| ('\x30'..='\x7e').contains(&c) && (csi.is_none() || c >= '@')) else { return false };
            let (between, last) = (&body.as_bytes()[..end], body.as_bytes()[end]);
            let fine = match (csi, between) {
                (Some(_), _) => csi_passes(between, last),
                (None, []) => escape_passes(last),
                (None, _) => intermediate_passes(between, last),
            };
            if !fine {
                return false;
            }
            rest = &body[end + 1..];
        }
    }
    true
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_gives_the_same(pieces in vec(piece(), 0..40), cuts in vec(0usize..200, 0..8)) {
        let bytes = pieces.concat();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut filter = Filter::default();
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            filter.pass(&bytes[from..cut], &mut parts);
            from = cut;
        }
        prop_assert_eq!(filtered(&bytes), parts);
    }

    #[test]
    fn only_whole_items_come_out(pieces in vec(piece(), 0..60)) {
        let once = filtered(&pieces.concat());
        prop_assert!(is_all_items(&once), "{:?}", String::from_utf8_lossy(&once));
        prop_assert_eq!(&filtered(&once), &once);
    }

    #[test]
    fn only_whole_items_come_out_of_noise(bytes in vec(ANY, 0..600)) {
        let once = filtered(&bytes);
        prop_assert!(is_all_items(&once), "{:?}", String::from_utf8_lossy(&once));
    }

    #[test]
    fn text_passes_unchanged(text in "[ -~\t\r\n\u{a0}-\u{ffff}\u{10000}-\u{10ffff}]{0,200}") {
        prop_assert_eq!(filtered(text.as_bytes()), text.as_bytes());
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"\x1b",
        b"\x1b]",
        b"\x1b[",
        b"\x1bP",
        b"\x1b_",
        b"\x1bk",
        b"\x1b\\",
        b"\x07",
        b"52;c;QQ==",
        b"0;title",
        b"8;;https://x",
        b"11;?",
        b"tmux;",
        b"\x9d",
        b"\xc2",
        b"\x9c",
        b"\x9b",
        b"\xe2",
        b"\xf0\x9f",
        "日".as_bytes(),
        "\u{9d}".as_bytes(),
        b"1;2m",
        b"?1049h",
        b"?1041h",
        b"21t",
        b"18t",
        b"(B",
        b"%@",
        b"$",
        b" ",
        b"text",
        b"\x18",
        b"k",
        b"0",
        b";",
        b"?",
        b"\r\n",
    ];
    prop_oneof![1 => vec(ANY, 0..6), 4 => select(words).prop_map(<[u8]>::to_vec)]
}

/// Not a limit but a figure, for whoever asks: `cargo test --release -p agentbox-kernel filters_speed -- --ignored --nocapture`.
#[test]
#[ignore = "measures; asserts nothing"]
#[allow(clippy::print_stderr, reason = "the figure is what it is for")]
fn filters_speed() {
    let samples = [
        ("plain", "The quick brown fox jumps over the lazy dog.\r\n".to_owned()),
        ("coloured", "\x1b[32mok\x1b[0m test terminal::filter::tests ... \x1b[1m3\x1b[m\r\n".to_owned()),
        ("wide", "日本語のテキストと絵文字🙂\r\n".to_owned()),
    ];
    for (name, line) in samples {
        let chunk = line.repeat((64 << 10) / line.len());
        let rounds = 4000;
        let mut filter = Filter::default();
        let mut out = Vec::with_capacity(256 << 10);
        let begun = std::time::Instant::now();
        for _ in 0..rounds {
            out.clear();
            filter.pass(std::hint::black_box(chunk.as_bytes()), &mut out);
            std::hint::black_box(&out);
        }
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let rate = (chunk.len() * rounds) as f64 / begun.elapsed().as_secs_f64() / 1e6;
        eprintln!("{name}: {rate:.0} MB/s");
    }
}
