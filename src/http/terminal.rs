//! `/v1/containers/{id}/terminal`: a terminal inside, over a WebSocket. Binary messages are bytes in both directions; a
//! client's text message sets the size; the close frame says how it ended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use rocket::{
    Request, Route, State, get,
    request::{FromRequest, Outcome},
    serde::json::Json,
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    auth::{Caller, OurPage},
    error::ApiError,
    socket::{Granted, Handshake, Socket},
    strict,
};
use crate::{
    api::{self, Instant},
    app::{App, Ended, STALL, Seat, Terminal, TerminalWish, Viewing},
    domain::{Program, Size, Who},
};

/// How often a silent client is asked whether it is there; after two questions without an answer it is given up.
const ASK: Duration = Duration::from_secs(20);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the query may have.
const QUERY: [&str; 7] = ["command", "user", "cols", "rows", "share", "terminal", "ticket"];

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let mut routes = strict::bare(rocket::routes![list]);
    routes.extend(strict::asking(rocket::routes![open], &QUERY));
    routes
}

#[get("/v1/containers/<id>/terminals")]
async fn list(caller: Caller, app: &State<Arc<App>>, id: &str) -> Result<Json<Vec<api::Terminal>>, ApiError> {
    Ok(Json(app.asked.terminals(&caller.0, id).await?.iter().map(|terminal| shown(terminal)).collect()))
}

#[get("/v1/containers/<id>/terminal")]
async fn open(
    caller: Caller,
    page: Result<OurPage, ApiError>,
    socket: Result<Handshake, ApiError>,
    wish: Result<TerminalWish, ApiError>,
    app: &State<Arc<App>>,
    id: &str,
) -> Result<Granted, ApiError> {
    page?;
    app.asked.may_open_terminal(&caller.0, id).await?;
    let (wish, socket) = (wish?, socket?);
    let viewing = app.asked.terminal(&caller.0, id, wish).await?;
    let app = Arc::clone(app);
    Ok(socket.grant(move |socket| async move { serve(&app, viewing, socket).await }.boxed()))
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for TerminalWish {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ApiError> {
        match read(request) {
            Ok(wish) => Outcome::Success(wish),
            Err(e) => Outcome::Error((e.status(), e)),
        }
    }
}

/// Reads what the query wants.
fn read(request: &Request<'_>) -> Result<TerminalWish, ApiError> {
    let text = |name| request.query_value::<String>(name).and_then(Result::ok).filter(|text| !text.is_empty());
    let number = |name: &'static str, usual: u16| match text(name) {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| ApiError::invalid(name, &text, "it is a number from 1 to 1000")),
    };
    let usual = Size::default();
    let size = Size::new(number("cols", usual.cols)?, number("rows", usual.rows)?)?;
    let (terminal, share) = (text("terminal"), text("share"));
    let watches = match share.as_deref() {
        None | Some("write") => false,
        Some("read") => true,
        Some(other) => return Err(ApiError::invalid("share", other, "it is \"read\" or \"write\"")),
    };
    if watches && terminal.is_none() {
        let what = "share=read watches one that is open; GET /v1/containers/{id}/terminals has their ids";
        return Err(ApiError::missing("terminal", what));
    }
    let command = text("command").map(|line| Program::shell(&line));
    if terminal.is_some() && (command.is_some() || text("user").is_some()) {
        let allowed = "it is open already, with its own command and user";
        return Err(ApiError::invalid("terminal", &terminal.unwrap_or_default(), allowed));
    }
    let is_login = command.is_none();
    let command = command.unwrap_or_else(Program::login);
    let program = Program { command, user: text("user"), terminal: Some(size), ..Program::default() };
    let mut program = program.check()?;
    if is_login {
        program.command.clear();
    }
    Ok(TerminalWish { terminal, watches, program })
}

/// Why a client's part has ended.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The client has left, or cannot be reached.
    Left,
    /// It sent what is not understood.
    Wrong(String),
    /// It does not read.
    Slow,
    /// It may be here no longer.
    NoRight,
    /// The terminal has ended.
    Ended(Ended),
}

impl Part {
    /// The last message to the client, as code and reason; `None`: nobody reads it.
    fn goodbye(self) -> Option<CloseFrame> {
        let because = |why: &str| serde_json::json!({ "reason": why }).to_string();
        let (code, reason) = match self {
            Part::Left => return None,
            Part::Ended(Ended::Exit(code)) => (CloseCode::Normal, serde_json::json!({ "exit_code": code }).to_string()),
            Part::Ended(Ended::Sandbox) => (CloseCode::Away, because("the container has ended")),
            Part::Ended(Ended::Engine) => (CloseCode::Error, because("the container engine has gone away")),
            Part::Ended(Ended::Abandoned) => (CloseCode::Away, because("nobody came back to the terminal")),
            Part::Ended(Ended::Server) => (CloseCode::Restart, because("the server is shutting down")),
            Part::Wrong(why) => (CloseCode::Policy, because(&why)),
            Part::Slow => (CloseCode::Again, because("this client reads too slowly")),
            Part::NoRight => (CloseCode::Policy, because("you may use this terminal no longer")),
        };
        // A reason has at most 123 bytes.
        Some(CloseFrame { code, reason: reason.chars().take(120).collect::<String>().into() })
    }
}

async fn serve(app: &App, viewing: Viewing, socket: Socket) {
    let (mut sink, mut stream) = socket.split();
    let heard = AtomicBool::new(true);
    let Viewing { seat, before, mut told } = viewing;
    let part = tokio::select! {
        part = hear(app, &seat, &mut stream, &heard) => part,
        part = show(&seat, before, &mut told, &mut sink, &heard) => part,
        () = lose_right(app, &seat) => Part::NoRight,
    };
    let terminal = &seat.terminal.id;
    tracing::debug!(terminal, ?part, "a client of a terminal ends");
    drop(seat);
    let Some(frame) = part.goodbye() else { return };
    let goodbye = async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            // Its answer shows that it has read ours.
            while let Some(Ok(_)) = stream.next().await {}
        }
    };
    // A client that does not answer learns nothing.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

/// Takes what a client sends.
async fn hear(
    app: &App,
    seat: &Seat,
    stream: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
    heard: &AtomicBool,
) -> Part {
    while let Some(message) = stream.next().await {
        heard.store(true, Ordering::Relaxed);
        match message {
            Ok(Message::Binary(_)) if !seat.writes() => return Part::Wrong("you watch this terminal".into()),
            Ok(Message::Binary(bytes)) => app.asked.type_in(seat, bytes.to_vec()).await,
            // Whoever watches has a window of another size.
            Ok(Message::Text(_)) if !seat.writes() => {}
            Ok(Message::Text(text)) => match resize(&text) {
                Ok(size) => seat.resize(size).await,
                Err(why) => return Part::Wrong(why),
            },
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(tungstenite::Error::Capacity(_)) => return Part::Wrong("a message has at most 64 KiB".into()),
            Ok(Message::Close(_)) | Err(_) => return Part::Left,
        }
    }
    Part::Left
}

fn resize(text: &str) -> Result<Size, String> {
    let asked: api::Resize = serde_json::from_str(text)
        .map_err(|_| "a text message is {\"resize\":{\"cols\":80,\"rows\":24}}; what is typed is binary".to_owned())?;
    Size::new(asked.resize.cols, asked.resize.rows).map_err(|e| e.to_string())
}

/// Sends what a terminal shows, and asks a silent client whether it is there.
async fn show(
    seat: &Seat,
    before: Vec<u8>,
    told: &mut tokio::sync::mpsc::Receiver<Vec<u8>>,
    sink: &mut (impl Sink<Message> + Unpin),
    heard: &AtomicBool,
) -> Part {
    let hello = serde_json::json!({ "terminal": seat.terminal.id }).to_string();
    let mut next = vec![Message::text(hello)];
    next.extend(Some(before).filter(|before| !before.is_empty()).map(Message::binary));
    let mut unanswered = 0;
    loop {
        for message in next.drain(..) {
            match tokio::time::timeout(STALL, sink.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Part::Left,
                Err(_) => return Part::Slow,
            }
        }
        tokio::select! {
            bytes = told.recv() => match bytes {
                Some(bytes) => next.push(Message::binary(bytes)),
                None => return seat.ended().map_or(Part::Slow, Part::Ended),
            },
            () = tokio::time::sleep(ASK) => {
                unanswered = if heard.swap(false, Ordering::Relaxed) { 0 } else { unanswered + 1 };
                if unanswered > 1 {
                    return Part::Left;
                }
                next.push(Message::Ping(Vec::new().into()));
            }
        }
    }
}

/// Returns when whoever sits there may do so no longer.
async fn lose_right(app: &App, seat: &Seat) {
    loop {
        tokio::time::sleep(app.asked.terminal_look()).await;
        if !app.asked.may_stay(seat).await {
            return;
        }
    }
}

fn shown(terminal: &Terminal) -> api::Terminal {
    let names = |people: Vec<Who>| people.iter().map(ToString::to_string).collect();
    api::Terminal {
        id: terminal.id.clone(),
        command: terminal.program.command.clone(),
        user: terminal.program.user.clone(),
        opened_by: terminal.by.to_string(),
        opened_at: Instant(terminal.opened_at),
        writers: names(terminal.people(true)),
        watchers: names(terminal.people(false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_how_it_ended_and_fits() {
        let frame = Part::Ended(Ended::Exit(Some(3))).goodbye().unwrap();
        assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Normal, "{\"exit_code\":3}"));
        let parts = [
            Part::Ended(Ended::Sandbox),
            Part::Ended(Ended::Engine),
            Part::Ended(Ended::Abandoned),
            Part::Ended(Ended::Server),
            Part::Slow,
            Part::NoRight,
            Part::Wrong("x".repeat(500)),
        ];
        for part in parts {
            assert!(part.goodbye().unwrap().reason.len() <= 123);
        }
        assert!(Part::Left.goodbye().is_none());
    }

    #[test]
    fn a_text_message_sets_the_size_and_nothing_else() {
        assert_eq!(resize("{\"resize\":{\"cols\":100,\"rows\":40}}"), Ok(Size { cols: 100, rows: 40 }));
        for bad in
            ["", "ls", "{}", "{\"resize\":{\"cols\":0,\"rows\":1}}", "{\"resize\":{\"cols\":1,\"rows\":1},\"x\":1}"]
        {
            assert!(resize(bad).is_err(), "{bad:?}");
        }
    }
}
