//! One request on the table: its head, its route, and its body decoded once, when somebody asks for it.

use std::{borrow::Cow, cell::OnceCell};

use super::{
    Body, Head,
    content::{self, Content, Media, Unreadable},
    graphql::Documents,
    route::Route,
};

/// What every API is given.
pub(crate) struct Call<'a> {
    /// As it came.
    pub(crate) head: &'a Head<'a>,
    /// The target taken apart.
    pub(crate) route: Route,
    /// The media type that the head claims.
    pub(crate) media: Media,
    /// Documents of GraphQL that have passed by, where somebody remembers them.
    pub(crate) documents: Option<&'a Documents>,
    body: Body<'a>,
    bytes: OnceCell<Result<Cow<'a, [u8]>, Unreadable>>,
    content: OnceCell<Content>,
}

impl<'a> Call<'a> {
    /// Lays a request on the table.
    #[must_use]
    pub(crate) fn new(head: &'a Head<'a>, body: Body<'a>) -> Self {
        Self { head, route: Route::of(head.target), media: Media::of(head.headers), documents: None, body, bytes: OnceCell::new(), content: OnceCell::new() }
    }

    /// Whether there is no body at all.
    #[must_use]
    pub(crate) fn has_no_body(&self) -> bool {
        match self.body {
            Body::Absent => true,
            Body::Whole(bytes) => bytes.is_empty(),
            Body::TooLong { .. } => false,
        }
    }

    /// The body as it came, with or without its end.
    #[must_use]
    pub(crate) fn raw(&self) -> Body<'a> {
        self.body
    }

    /// The whole body without its content encodings.
    ///
    /// # Errors
    /// Why nobody can say what it is.
    pub(crate) fn bytes(&self) -> Result<&[u8], &Unreadable> {
        self.bytes.get_or_init(|| content::decode(self.head.headers, self.body)).as_ref().map(Cow::as_ref)
    }

    /// The body, understood as what it is.
    pub(crate) fn content(&self) -> &Content {
        self.content.get_or_init(|| match self.bytes() {
            _ if self.has_no_body() => Content::Empty,
            Ok(bytes) => content::understand(&self.media, bytes),
            Err(Unreadable::TooLong) => content::beginning(&self.media, self.head.headers, self.body),
            Err(why) => Content::Unreadable(why.clone()),
        })
    }

    /// The body as [`Call::content`] has it, where somebody has asked for it already: reading tens of MiB twice helps nobody.
    #[must_use]
    pub(crate) fn content_if_read(&self) -> Option<&Content> {
        self.content.get()
    }

    /// All values of a header as text; `None` stands for one that is not ASCII.
    pub(crate) fn header_values<'b>(&'b self, name: &'b str) -> impl Iterator<Item = Option<&'b str>> {
        self.head.headers.get_all(name).iter().map(|value| value.to_str().ok())
    }
}
