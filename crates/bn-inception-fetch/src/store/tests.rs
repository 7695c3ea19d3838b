//! A download survives or refuses every way in which a server may misbehave.

mod server;

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::absent::write;
use crate::cache::io_at;
use crate::download::ATTEMPTS;
use server::{Answer, Client, Server, content, half, says, send, whole};

fn repeat(answer: fn() -> Answer) -> Vec<Answer> {
    (0..ATTEMPTS).map(|_| answer()).collect()
}

#[test]
fn a_file_is_downloaded_once() {
    let server = Server::new(vec![whole()]);
    let client = Client::of(&server);
    client.succeeds();
    client.succeeds();
    assert_eq!(server.requests().len(), 1);
    let events = client.events.lock().unwrap();
    let last = FetchEvent::Progress { received: 300_000, total: Some(300_000) };
    assert_eq!(events.last(), Some(&last));
}

/// A server with ranges and validators is not asked for the rest, but for the whole.
#[test]
fn a_broken_connection_starts_anew() {
    let server = Server::new(vec![half(), whole()]);
    let client = Client::of(&server);
    client.succeeds();
    let requests = server.requests();
    assert!(requests[0].contains("accept-encoding: identity"));
    for request in &requests {
        assert!(!request.contains("range"), "{request}");
    }
    assert_eq!(client.retries(), 1);
    let events = client.events.lock().unwrap();
    let restarted =
        events.iter().filter(|event| matches!(event, FetchEvent::Progress { received: 0, total: Some(300_000) }));
    assert_eq!(restarted.count(), 2);
}

#[test]
fn a_later_process_starts_anew() {
    let server = Server::new(vec![half(), says("404 Not Found\r\nContent-Length: 0", ""), whole()]);
    let client = Client::of(&server);
    client.fails(&["404 Not Found"]);
    client.succeeds();
    assert!(!server.requests()[2].contains("range"));
}

#[test]
fn what_an_earlier_version_left_half_done_is_not_used() {
    let server = Server::new(vec![whole()]);
    let client = Client::of(&server);
    fs::create_dir_all(client.file("")).unwrap();
    fs::write(client.file("file.bin.part"), &content()[..150_000]).unwrap();
    assert_eq!(client.store().bytes(&client.source).unwrap(), content());
    assert!(!server.requests()[0].contains("range"));
}

#[test]
fn a_file_changed_meanwhile_starts_anew() {
    // A version of the same length that is not the published one, then the published one.
    let old = says("200 OK\r\nETag: \"v0\"\r\nContent-Length: 300000", vec![7; 1000]);
    let server = Server::new(vec![old, whole()]);
    Client::of(&server).succeeds();
}

#[test]
fn redirects_are_followed_each_time() {
    let moved = || says("302 Found\r\nLocation: /elsewhere.bin\r\nContent-Length: 0", "");
    let server = Server::new(vec![moved(), half(), moved(), whole()]);
    Client::of(&server).succeeds();
    assert!(server.requests()[3].starts_with("get /elsewhere.bin"));
}

#[test]
fn redirects_in_a_circle_are_refused() {
    let moved = || says("302 Found\r\nLocation: /file.bin\r\nContent-Length: 0", "");
    let server = Server::new((0..100).map(|_| moved()).collect());
    let client = Client::of(&server);
    client.fails(&["redirects"]);
    assert_eq!(client.retries(), 0);
}

#[test]
fn errors_of_the_server_are_named() {
    for (head, text, tried) in [
        ("404 Not Found\r\nContent-Length: 4", "404 Not Found", 1),
        ("403 Forbidden\r\nContent-Length: 4", "403 Forbidden", 1),
        ("204 No Content", "204 No Content", 1),
        ("206 Partial Content\r\nContent-Length: 4", "206 Partial Content", 1),
        ("503 Service Unavailable\r\nContent-Length: 4", "503 Service Unavailable", ATTEMPTS),
        ("429 Too Many Requests\r\nContent-Length: 4", "429 Too Many Requests", ATTEMPTS),
    ] {
        let server = Server::new((0..tried).map(|_| says(head, "nope")).collect());
        let client = Client::of(&server);
        client.fails(&[text]);
        assert_eq!(server.requests().len(), tried as usize, "{head}");
    }
}

#[test]
fn passing_errors_of_the_server_are_survived() {
    let busy = || says("503 Service Unavailable\r\nContent-Length: 0", "");
    let server = Server::new(vec![busy(), busy(), whole()]);
    let client = Client::of(&server);
    client.succeeds();
    assert_eq!(client.retries(), 2);
}

#[test]
fn a_body_that_stays_short_is_an_error() {
    let server = Server::new(repeat(half));
    let client = Client::of(&server);
    client.fails(&["150000 of 300000 bytes"]);
    assert_eq!(server.requests().len(), ATTEMPTS as usize);
}

#[test]
fn a_short_body_of_unknown_length_is_short() {
    let open_ended = || says("200 OK\r\nETag: \"v1\"", &content()[..150_000]);
    let server = Server::new(vec![open_ended(), whole()]);
    Client::of(&server).succeeds();
}

#[test]
fn a_wrong_file_is_refused_and_thrown_away() {
    let page = || says("200 OK\r\nContent-Length: 15", "<html>404</html");
    let server = Server::new(vec![page(), page()]);
    let client = Client::of(&server);
    client.fails(&["15 bytes, expected 300000"]);
    let client = client.unsized_source();
    client.fails(&["checksum "]);
    let forged = says("200 OK\r\nETag: \"v1\"\r\nContent-Length: 300000", vec![0; 300_000]);
    let server = Server::new(vec![forged]);
    let client = Client::of(&server);
    client.fails(&["not the published file", "checksum "]);
}

#[test]
fn a_body_without_end_is_cut_off() {
    let endless: Answer = Box::new(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    let server = Server::new(vec![endless]);
    let client = Client::of(&server).unsized_source();
    client.fails(&["more than 268435456 bytes"]);
}

#[test]
fn a_server_that_stalls_is_given_up() {
    fn silent() -> Answer {
        Box::new(|_, _| std::thread::sleep(Duration::from_millis(600)))
    }
    fn stalls() -> Answer {
        Box::new(|_, stream| {
            send(stream, "200 OK\r\nContent-Length: 300000", &content()[..500]);
            std::thread::sleep(Duration::from_millis(600));
        })
    }
    for answer in [silent as fn() -> Answer, stalls] {
        let server = Server::new(repeat(answer));
        Client::of(&server).fails(&["timeout"]);
    }
}

#[test]
fn nobody_there_is_an_error() {
    let server = Server::new(vec![]);
    let client = Client::of(&server);
    drop(server);
    client.fails(&["refused"]);
    assert_eq!(client.retries() as u32, ATTEMPTS - 1);
}

#[test]
fn offline_never_asks() {
    let server = Server::new(vec![]);
    let client = Client::of(&server);
    let error = client.store().offline(true).bytes(&client.source).unwrap_err();
    let text = error.to_string();
    for part in ["offline", &server.url, &client.source.checksum.to_string(), "file.bin"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!client.folder.path().join("cache").exists());
    // A file put there by hand is found, and verified.
    fs::create_dir_all(client.file("")).unwrap();
    fs::write(client.file("file.bin"), content()).unwrap();
    let store = client.store().offline(true);
    assert_eq!(store.bytes(&client.source).unwrap().len(), 300_000);
    assert!(server.requests().is_empty());
}

#[test]
fn a_wrong_file_put_there_by_hand_is_refused() {
    let server = Server::new(vec![]);
    let client = Client::of(&server);
    fs::create_dir_all(client.file("")).unwrap();
    let mut wrong = content();
    wrong[1234] ^= 1;
    for (bytes, part) in [(&wrong[..], "checksum "), (&wrong[..10], "10 bytes, expected 300000")] {
        fs::write(client.file("file.bin"), bytes).unwrap();
        let text = client.store().bytes(&client.source).unwrap_err().to_string();
        assert!(text.contains(part) && text.contains("delete it"), "{text}");
        assert!(client.file("file.bin").exists(), "not ours to delete");
    }
    assert!(server.requests().is_empty());
}

#[test]
fn two_at_once_download_once() {
    let slow: Answer = Box::new(|_, stream| {
        send(stream, "200 OK\r\nContent-Length: 300000", &content()[..1000]);
        std::thread::sleep(Duration::from_millis(150));
        let _ = stream.write_all(&content()[1000..]);
    });
    let server = Server::new(vec![slow]);
    let client = Client::of(&server);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let store = client.store();
                assert_eq!(store.bytes(&client.source).unwrap().len(), 300_000);
            });
        }
    });
    assert_eq!(server.requests().len(), 1);
    let events = client.events.lock().unwrap();
    assert!(events.contains(&FetchEvent::Waiting));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let server = Server::new(vec![]);
    let client = Client::of(&server);
    fs::write(client.folder.path().join("cache"), "a file").unwrap();
    let text = client.store().bytes(&client.source).unwrap_err().to_string();
    assert!(text.contains("cache") && text.contains("by hand"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let server = Server::new(vec![whole()]);
    let client = Client::of(&server);
    let error = write(&client.file("nowhere/file.bin"), &content()).unwrap_err();
    let problem = io_at(&client.file("file.bin"))(error);
    let text = FetchError::new(&client.source, &client.file("file.bin"), problem).to_string();
    assert!(text.contains("file.bin: ") && text.contains("by hand"), "{text}");
    client.succeeds();
}
