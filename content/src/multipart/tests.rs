use proptest::prelude::*;

use super::*;

const BOUNDARY: &str = "boundary1";

/// What a form comes to, its pieces of content joined.
fn read(body: &[u8], cuts: impl IntoIterator<Item = usize>, limits: Limits) -> Result<Vec<Event>, MultipartError> {
    let mut form = Multipart::new(BOUNDARY, limits).unwrap();
    let mut events: Vec<Event> = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([body.len()]) {
        form.push(Bytes::copy_from_slice(&body[from..cut]));
        from = cut;
        while let Some(event) = form.poll()? {
            match (events.last_mut(), event) {
                (Some(Event::Data(before)), Event::Data(more)) => *before = [&before[..], &more].concat().into(),
                (_, event) => events.push(event),
            }
        }
    }
    form.end().map(|()| events)
}

fn part(name: &str, file_name: Option<&str>, content_type: Option<&str>) -> Event {
    Event::Begin(Part {
        name: name.into(),
        file_name: file_name.map(Into::into),
        content_type: content_type.map(Into::into),
    })
}

fn data(text: &'static [u8]) -> Event {
    Event::Data(Bytes::from_static(text))
}

const UPLOAD: &[u8] = b"--boundary1\r\nContent-Disposition: form-data; name=\"tid\"\r\nContent-Type: text/plain\r\n\
Content-Length: 4\r\n\r\n7b9c\r\n--boundary1\r\nContent-Disposition: form-data; name=\"Thumbnail\"; filename=\"t.jpg\"\r\n\
Content-Type: image/jpeg\r\n\r\n\r\n--boundary1\r\nContent-Disposition: form-data; name=\"File\"; \
filename=\"my%20beach.jpg\"\r\nContent-Type: image/jpeg\r\nContent-Transfer-Encoding: binary\r\n\r\n\
\r\n-\r\n--boundary\r\n--boundary2\r\r\n--bound\r\n--boundary1--";

fn upload() -> Vec<Event> {
    vec![
        part("tid", None, Some("text/plain")),
        data(b"7b9c"),
        Event::End,
        part("Thumbnail", Some("t.jpg"), Some("image/jpeg")),
        Event::End,
        part("File", Some("my beach.jpg"), Some("image/jpeg")),
        data(b"\r\n-\r\n--boundary\r\n--boundary2\r\r\n--bound"),
        Event::End,
        Event::Close,
    ]
}

#[test]
fn an_upload_cut_anywhere_is_the_same() {
    assert_eq!(read(UPLOAD, [], Limits::default()), Ok(upload()));
    assert_eq!(read(UPLOAD, 1..UPLOAD.len(), Limits::default()), Ok(upload()), "byte by byte");
    for cut in 0..=UPLOAD.len() {
        assert_eq!(read(UPLOAD, [cut], Limits::default()), Ok(upload()), "cut at {cut}");
    }
}

#[test]
fn shapes_of_forms() {
    let form = |text: &str| read(text.replace('\n', "\r\n").as_bytes(), [], Limits::default());
    let field = |events: Vec<Event>| [events, vec![Event::End, Event::Close]].concat();
    let head = "Content-Disposition: form-data; name=a";
    for (name, text, expected) in [
        ("preamble and epilogue", format!("hello\n--boundary1\n{head}\n\nb\n--boundary1--\nbye"), vec![data(b"b")]),
        ("blanks behind the boundary", format!("--boundary1 \t\n{head}\n\nb\n--boundary1--"), vec![data(b"b")]),
        ("no content", format!("--boundary1\n{head}\n\n\n--boundary1--"), vec![]),
        ("no content and no line end", format!("--boundary1\n{head}\n\n--boundary1--"), vec![]),
        ("ends with a line end", format!("--boundary1\n{head}\n\nb\n\n--boundary1--"), vec![data(b"b\r\n")]),
    ] {
        assert_eq!(form(&text), Ok(field([vec![part("a", None, None)], expected].concat())), "{name}");
    }
    assert_eq!(form("--boundary1--"), Ok(vec![Event::Close]));
}

#[test]
fn what_is_no_form() {
    let limits = Limits { head: 100, parts: 2, preamble: 20 };
    let field = "--boundary1\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n";
    for (name, text, expected) in [
        ("empty", String::new(), MultipartError::Truncated),
        ("cut", field.to_owned(), MultipartError::Truncated),
        ("no name", "--boundary1\r\nA: b\r\n\r\n".into(), MultipartError::Name),
        ("no head", "--boundary1\r\n\r\nb".into(), MultipartError::Name),
        ("no colon", "--boundary1\r\nContent\r\n\r\n".into(), MultipartError::Malformed),
        ("endless head", format!("--boundary1\r\nA: {}", "a".repeat(200)), MultipartError::Head { max: 100 }),
        ("long head", format!("--boundary1\r\nA: {}\r\n\r\n", "a".repeat(98)), MultipartError::Head { max: 100 }),
        ("many parts", format!("{field}{field}{field}--boundary1--"), MultipartError::Parts { max: 2 }),
        ("long preamble", "a".repeat(21), MultipartError::Preamble { max: 20 }),
        ("boundary and more", "--boundary1x".into(), MultipartError::Delimiter),
        ("one hyphen", "--boundary1-x".into(), MultipartError::Delimiter),
        ("endless blanks", format!("--boundary1{}", " ".repeat(300)), MultipartError::Delimiter),
    ] {
        assert_eq!(read(text.as_bytes(), [], limits), Err(expected), "{name}");
        assert_eq!(read(text.as_bytes(), 1..text.len().max(1), limits), Err(expected), "{name}, byte by byte");
    }
}

#[test]
fn boundaries() {
    for (content_type, expected) in [
        ("multipart/form-data; boundary=abc", Ok("abc")),
        ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", Ok("a b")),
        ("multipart/form-data", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=\"a \"", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=a\u{e4}", Err(MultipartError::Boundary)),
        ("multipart/mixed; boundary=a", Err(MultipartError::Boundary)),
    ] {
        assert_eq!(boundary(content_type), expected.map(str::to_owned), "{content_type}");
    }
}

#[test]
fn names_in_heads() {
    for (parameters, name, file_name) in [
        ("name=\"File\"; filename=\"a\\\"b.jpg\"", "File", Some("a\"b.jpg")),
        ("name=\"File\"; filename=\"C:\\dir\\a.jpg\"", "File", Some("C:\\dir\\a.jpg")),
        ("name=File;filename=a.jpg", "File", Some("a.jpg")),
        ("name=\"File\"; filename=\"x\"; filename*=UTF-8''%C3%A4.jpg", "File", Some("ä.jpg")),
        ("filename=\"a;name=b\"; name=\"File\"", "File", Some("a;name=b")),
    ] {
        let head = format!("Content-Disposition: form-data; {parameters}");
        let found = Part::parse(head.as_bytes()).unwrap();
        assert_eq!((found.name.as_str(), found.file_name.as_deref()), (name, file_name), "{parameters}");
    }
}

proptest! {
    /// Content with many near-delimiters, in any pieces.
    #[test]
    fn content_comes_out_as_it_went_in(
        content in "(\r|\n|-|\r\n--|boundary|a){0,60}",
        cuts in prop::collection::vec(0_usize..400, 0..40),
    ) {
        let body = format!("--boundary1\r\nContent-Disposition: form-data; name=a\r\n\r\n{content}\r\n--boundary1--");
        prop_assume!(!format!("{content}\r\n").contains("--boundary1"));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.sort_unstable();
        let events = read(body.as_bytes(), cuts, Limits::default()).unwrap();
        let found: Vec<u8> = events.iter().filter_map(|event| match event {
            Event::Data(data) => Some(&data[..]),
            _ => None,
        }).flatten().copied().collect();
        prop_assert_eq!(found, content.as_bytes());
    }

    #[test]
    fn holds_no_more_than_a_head(body in "(\r\n|--boundary1|-|a|:|;|name=| ){0,200}", size in 1_usize..9) {
        let limits = Limits { head: 64, parts: 4, preamble: 64 };
        let mut form = Multipart::new(BOUNDARY, limits).unwrap();
        'all: for piece in body.as_bytes().chunks(size) {
            form.push(Bytes::copy_from_slice(piece));
            loop {
                match form.poll() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
                prop_assert!(form.held.len() <= 64 + 4 + MAX_PADDING);
            }
        }
    }
}
