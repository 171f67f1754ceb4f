//! A body that holds something until it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body and what is to be dropped with it.
    #[derive(Debug)]
    pub struct Held<T, G> {
        #[pin]
        body: T,
        guard: Option<G>,
    }
}

impl<T, G> Held<T, G> {
    /// Ties a guard, where there is one, to a body.
    pub fn new(body: T, guard: Option<G>) -> Self {
        Self { body, guard }
    }
}

impl<T: Body, G> Body for Held<T, G> {
    type Data = T::Data;
    type Error = T::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<T::Data>, T::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
