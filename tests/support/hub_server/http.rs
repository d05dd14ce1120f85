//! Requests and answers of the server, over plain sockets.

use std::{
    io::{BufRead, BufReader, Error, Read, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};

use super::FaultKind;

/// A request, read whole.
pub struct Request {
    pub method: String,
    pub path: String,
    pub token: Option<String>,
    pub range: Option<String>,
    pub body: Arc<Vec<u8>>,
}

impl Request {
    pub fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let mut request = Self {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            token: None,
            range: None,
            body: Arc::default(),
        };
        let (mut length, mut chunked) = (0, false);
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            let Some((name, value)) = header.trim().split_once(": ") else {
                continue;
            };
            match name.to_lowercase().as_str() {
                "authorization" => {
                    request.token = value.strip_prefix("Bearer ").map(str::to_owned);
                }
                "range" => request.range = Some(value.to_owned()),
                "content-length" => length = value.parse().map_err(Error::other)?,
                "transfer-encoding" => chunked = true,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if chunked {
            body = read_chunks(&mut reader)?;
        }
        request.body = Arc::new(body);
        Ok(request)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

fn read_chunks(reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(Error::other)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend(&chunk[..size]);
        if size == 0 {
            return Ok(body);
        }
    }
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Arc<Vec<u8>>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::new(body.into()),
        }
    }

    pub fn json(value: serde_json::Value) -> Self {
        Self::new(200, value.to_string())
    }

    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn refused(status: u16, code: &str) -> Self {
        Self::new(status, format!("{{\"error\": \"{code}\"}}")).with("X-Error-Code", code)
    }

    /// A refusal with a message, and the number of its request.
    pub fn error(status: u16, message: &str) -> Self {
        let body = serde_json::json!({ "error": message });
        Self::new(status, body.to_string())
            .with("X-Error-Message", message)
            .with("X-Request-Id", "Root=1-2345")
    }
}

pub fn send(
    mut stream: TcpStream,
    request: &Request,
    mut reply: Answer,
    fault: Option<FaultKind>,
) -> std::io::Result<()> {
    match fault {
        Some(FaultKind::Status(status, wait)) => {
            reply = Answer::new(status, "<html>try later</html>").with("X-Request-Id", "Root=1-9");
            reply
                .headers
                .extend(wait.map(|seconds| ("Retry-After", seconds.to_string())));
        }
        Some(FaultKind::StatusAfter(status)) => reply = Answer::error(status, "Internal Error"),
        _ => {}
    }
    let total = reply.body.len();
    let mut served = 0..total;
    let range = request.range.as_ref();
    let range = range.filter(|_| !matches!(fault, Some(FaultKind::NoRanges)));
    if let (200, Some(range)) = (reply.status, range) {
        let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        let (start, end) = (
            start.parse::<usize>().unwrap(),
            end.parse::<usize>()
                .map_or(total, |end| (end + 1).min(total)),
        );
        reply.status = if start < total { 206 } else { 416 };
        served = start.min(total)..end;
        reply = reply.with(
            "Content-Range",
            format!("bytes {start}-{}/{total}", end.saturating_sub(1)),
        );
    }
    if matches!(fault, Some(FaultKind::WrongByte))
        && let Some(first) = Arc::make_mut(&mut reply.body).get_mut(served.start)
    {
        *first ^= 1;
    }
    let body = &reply.body[served];
    let mut head = format!(
        "HTTP/1.1 {} x\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&[name, ": ", value, "\r\n"].concat());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fault {
        Some(FaultKind::Cut(after)) => stream.write_all(&body[..after.min(body.len())]),
        Some(FaultKind::Slow(rate)) => body.chunks((rate / 20).max(1)).try_for_each(|chunk| {
            thread::sleep(Duration::from_millis(50));
            stream.write_all(chunk)
        }),
        _ => stream.write_all(body),
    }
}
