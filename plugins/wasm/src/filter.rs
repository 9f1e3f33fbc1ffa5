//! The filter as Envoy calls it, by the proxy-wasm ABI: bodies are held by Envoy until all of them is there.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use crate::decide::{Exchange, Filter, Problem};
use crate::edits::Edits;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Warn);
    proxy_wasm::set_root_context(|_| Box::new(Root { filter: None }));
}}

/// One configuration: the one that was read last.
struct Root {
    filter: Option<Rc<Filter>>,
}

/// One request.
struct Stream {
    id: u32,
    filter: Option<Rc<Filter>>,
    exchange: Option<Exchange>,
    /// The request or the answer is waited for, and its head with it.
    collects: Collects,
    refused: bool,
    answer: (StatusCode, HeaderMap),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Collects {
    Nothing,
    Request(usize),
    Answer,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        match Filter::read(&String::from_utf8_lossy(&text)) {
            Ok(filter) => {
                self.filter = Some(Rc::new(filter));
                true
            }
            Err(why) => {
                log(LogLevel::Critical, &format!("unskew: {why}"));
                false
            }
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            filter: self.filter.clone(),
            exchange: None,
            collects: Collects::Nothing,
            refused: false,
            answer: (StatusCode::OK, HeaderMap::new()),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ends: bool) -> Action {
        let lines = self.get_http_request_headers_bytes();
        let text = |wanted: &str| {
            let found = lines.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let Some(filter) = &self.filter else { return Action::Continue };
        let exchange = filter.begin(&text(":method"), &text(":path"), header_map(&lines));
        let wanted = exchange.wanted();
        self.exchange = Some(exchange);
        match wanted {
            Some(limit) if !ends => {
                self.collects = Collects::Request(limit);
                Action::Pause
            }
            Some(_) | None => self.places(None),
        }
    }

    fn on_http_request_body(&mut self, size: usize, ends: bool) -> Action {
        let Collects::Request(limit) = self.collects else {
            return if self.refused { Action::Pause } else { Action::Continue };
        };
        if size > limit {
            self.collects = Collects::Nothing;
            let problem = self.exchange.as_ref().map(Exchange::too_long);
            return self.refuses(problem);
        }
        if !ends {
            return Action::Pause;
        }
        self.collects = Collects::Nothing;
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        self.places(Some(body.into()))
    }

    fn on_http_response_headers(&mut self, _: usize, ends: bool) -> Action {
        let Some(exchange) = self.exchange.as_mut().filter(|_| !self.refused) else { return Action::Continue };
        let holds = exchange.holds();
        let lines = self.get_http_response_headers_bytes();
        let status = lines.iter().find(|(name, _)| name == ":status");
        let status = status.and_then(|(_, value)| StatusCode::from_bytes(value).ok()).unwrap_or(StatusCode::OK);
        let headers = header_map(&lines);
        let Some(exchange) = &mut self.exchange else { return Action::Continue };
        match exchange.answer_head(&headers) {
            Ok(edits) => {
                self.edits_answer(&edits);
                self.answer = (status, headers);
                if holds && !ends {
                    self.collects = Collects::Answer;
                    return Action::Pause;
                }
                Action::Continue
            }
            Err(problem) => self.refuses(Some(problem)),
        }
    }

    fn on_http_response_body(&mut self, size: usize, ends: bool) -> Action {
        if self.collects != Collects::Answer {
            return Action::Continue;
        }
        if !ends {
            return Action::Pause;
        }
        self.collects = Collects::Nothing;
        let body = self.get_http_response_body(0, size).unwrap_or_default();
        let (status, headers) = std::mem::take(&mut self.answer);
        let Some(exchange) = &mut self.exchange else { return Action::Continue };
        match exchange.answer_body(status, &headers, &body) {
            Ok(None) => {}
            Ok(Some((body, edits))) => {
                self.edits_answer(&edits);
                self.set_http_response_body(0, size, &body);
            }
            // The head waits: the answer becomes the problem.
            Err(Problem { status, headers, body }) => {
                self.set_http_response_header(":status", Some(status.as_str()));
                for (name, value) in &headers {
                    self.set_http_response_header_bytes(name.as_str(), Some(value.as_bytes()));
                }
                self.set_http_response_header("content-length", Some(&body.len().to_string()));
                self.set_http_response_body(0, size, &body);
            }
        }
        Action::Continue
    }
}

impl Stream {
    fn places(&mut self, body: Option<Bytes>) -> Action
    where
        Self: HttpContext,
    {
        let Some(exchange) = &mut self.exchange else { return Action::Continue };
        match exchange.place(body.as_deref(), &self.id.to_le_bytes()) {
            Err(problem) => self.refuses(Some(problem)),
            Ok(placed) => {
                for name in &placed.edits.remove {
                    self.set_http_request_header(name.as_str(), None);
                }
                for (index, (name, value)) in placed.edits.set.iter().enumerate() {
                    match placed.edits.is_first(index) {
                        true => self.set_http_request_header_bytes(name.as_str(), Some(value.as_bytes())),
                        false => self.add_http_request_header_bytes(name.as_str(), value.as_bytes()),
                    }
                }
                if let (Some(old), Some(new)) = (body, placed.body) {
                    self.set_http_request_body(0, old.len(), &new);
                }
                Action::Continue
            }
        }
    }

    fn refuses(&mut self, problem: Option<Problem>) -> Action {
        self.refused = true;
        if let Some(Problem { status, headers, body }) = problem {
            let lines =
                headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
            self.send_http_response(u32::from(status.as_u16()), lines, Some(&body));
        }
        Action::Pause
    }

    fn edits_answer(&self, edits: &Edits) {
        for name in &edits.remove {
            self.set_http_response_header(name.as_str(), None);
        }
        for (index, (name, value)) in edits.set.iter().enumerate() {
            match edits.is_first(index) {
                true => self.set_http_response_header_bytes(name.as_str(), Some(value.as_bytes())),
                false => self.add_http_response_header_bytes(name.as_str(), value.as_bytes()),
            }
        }
    }
}

fn header_map(lines: &[(String, Vec<u8>)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().filter(|(name, _)| !name.starts_with(':')) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn log(level: LogLevel, line: &str) {
    let _ = proxy_wasm::hostcalls::log(level, line);
}
