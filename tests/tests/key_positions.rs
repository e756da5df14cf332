//! The list that the core's key positions are tested with says what a real server says.

use respass_tests::tree;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A redis-server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start() -> (Server, BufReader<TcpStream>) {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Server(child);
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
                    return (server, BufReader::new(stream));
                }
                Err(error) => assert!(Instant::now() < until, "no redis-server: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The keys of a command; none where the server says so with an error.
fn keys(stream: &mut BufReader<TcpStream>, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split(' ').map(|word| if word == "''" { "" } else { word }).collect();
    let mut request = format!("*{}\r\n$7\r\nCOMMAND\r\n$7\r\nGETKEYS\r\n", words.len() + 2);
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.get_mut().write_all(request.as_bytes()).expect("a connection");
    let first = line(stream);
    let Some(count) = first.strip_prefix('*') else {
        assert!(first.contains("The command has no key arguments"), "{command}: {first}");
        return Vec::new();
    };
    let count = count.parse().expect("a number");
    (0..count).map(|_| bulk(stream)).collect()
}

fn bulk(stream: &mut BufReader<TcpStream>) -> String {
    let len: usize = line(stream)[1..].parse().expect("a length");
    let mut bytes = vec![0; len + 2];
    stream.read_exact(&mut bytes).expect("a reply");
    bytes.truncate(len);
    String::from_utf8(bytes).expect("text")
}

fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a reply");
    line.trim_end().to_owned()
}

#[test]
fn the_list_of_key_positions_is_what_a_server_answers() {
    let list = tree::root().join("core/src/command/key_positions.txt");
    let list = fs::read_to_string(list).expect("a readable file");
    let (_server, mut stream) = Server::start();
    for line in list.lines() {
        let (command, expected) = line.split_once(" =>").expect("a command and its keys");
        let expected: Vec<&str> = expected.split_whitespace().collect();
        assert_eq!(keys(&mut stream, command), expected, "{command}");
    }
}
