//! A real browser without a window: Chromium, driven by ChromeDriver in the W3C's WebDriver protocol.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::Method;

use crate::server::{Server, StartError, start};
use crate::{http, keeper, place, port};

/// How long a page may take to get where a test waits for it. Generous: the machine may be busy.
const WAIT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// What WebDriver calls an element's identity.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Nothing but what the test asks for: no sandbox, because tests may run as root, and no request of the browser's own.
const FLAGS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--lang=en-US",
];

/// A browser with one page. Dropping it closes it.
#[derive(Debug)]
pub struct Browser {
    session: String,
    _server: Server,
}

impl Browser {
    /// Opens a browser of this size.
    ///
    /// # Panics
    /// If Chromium or ChromeDriver is not installed or does not start.
    #[must_use]
    pub fn open(width: u32, height: u32) -> Self {
        let browser = start(|| Self::attempt(width, height));
        browser.size(width, height);
        // What it asked for by itself until now.
        drop(browser.requests());
        browser
    }

    fn attempt(width: u32, height: u32) -> Result<Self, StartError> {
        let folder = keeper::folder("browser");
        let port = port::free();
        let mut command = Command::new(place::installed(&["chromedriver"]));
        command.arg(format!("--port={port}")).env("HOME", &folder).env("TMPDIR", &folder);
        let server = Server::spawn("chromedriver", "KILL", &folder, &mut command);
        let url = format!("http://127.0.0.1:{port}");
        let status = format!("{url}/status");
        let (server, ()) =
            server.ready(|| http::send(Method::GET, &status, &[], Vec::new()).ok().filter(|answer| answer.status == 200).map(|_| ()))?;
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", folder.join("profile").display()));
        flags.push(format!("--window-size={width},{height}"));
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": flags, "binary": place::installed(&["chromium", "chromium-browser", "google-chrome"]) },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let answer = request(Method::POST, &format!("{url}/session"), Some(&capabilities));
        let id = answer["sessionId"].as_str().expect("a new session has an id");
        Ok(Self { session: format!("{url}/session/{id}"), _server: server })
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        request(Method::POST, &format!("{}/{path}", self.session), Some(body))
    }

    fn command(&self, name: &str, parameters: &Value) {
        self.post("goog/cdp/execute", &json!({ "cmd": name, "params": parameters }));
    }

    /// Gives the page this size, also one that no window could have.
    pub fn size(&self, width: u32, height: u32) {
        let mobile = width < 500;
        self.command(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile }),
        );
    }

    /// What the page is told of its user's taste: `prefers-color-scheme` and `dark`.
    pub fn prefer(&self, feature: &str, value: &str) {
        self.command("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": feature, "value": value }] }));
    }

    /// Opens a file.
    pub fn go(&self, file: &Path) {
        self.post("url", &json!({ "url": format!("file://{}", file.display()) }));
    }

    /// What a function body returns in the page. `arguments[0]` is the argument.
    pub fn script(&self, body: &str, argument: &Value) -> Value {
        self.post("execute/sync", &json!({ "script": body, "args": [argument] }))
    }

    /// What a function body gives to its last argument, a function, some time later.
    pub fn script_later(&self, body: &str, argument: &Value) -> Value {
        self.post("execute/async", &json!({ "script": body, "args": [argument] }))
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// If it never is.
    pub fn until(&self, expression: &str) {
        let deadline = Instant::now() + WAIT;
        while self.script(&format!("return Boolean({expression});"), &Value::Null) != Value::Bool(true) {
            assert!(Instant::now() < deadline, "waited in vain for {expression}; the console says {:?}", self.console());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn element(&self, selector: &str) -> String {
        let found = self.post("element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().expect("an element has an identity").to_owned()
    }

    /// The text of an element as it is shown.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let url = format!("{}/element/{}/text", self.session, self.element(selector));
        request(Method::GET, &url, None).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks on the middle of an element, as a mouse does: what covers it gets the click.
    pub fn click(&self, selector: &str) {
        self.post(&format!("element/{}/click", self.element(selector)), &json!({}));
    }

    /// Chooses the option of a list by its text, as its user does.
    pub fn choose(&self, selector: &str, text: &str) {
        let found = self.post(
            "element",
            &json!({ "using": "xpath", "value": format!("//select[@id='{}']/option[normalize-space()='{text}']", selector.trim_start_matches('#')) }),
        );
        let option = found[ELEMENT].as_str().expect("an element has an identity");
        self.post(&format!("element/{option}/click"), &json!({}));
    }

    /// Types into what has the focus. [`keys`] has those without a letter.
    pub fn keys(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({ "type": "keyDown", "value": key.to_string() }), json!({ "type": "keyUp", "value": key.to_string() })])
            .collect();
        self.post("actions", &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] }));
    }

    /// What the page shows, as a PNG in base 64.
    #[must_use]
    pub fn screenshot(&self) -> String {
        request(Method::GET, &format!("{}/screenshot", self.session), None).as_str().unwrap_or_default().to_owned()
    }

    /// Warnings and errors of the console since the last call.
    #[must_use]
    pub fn console(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        let loud = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        entries
            .as_array()
            .into_iter()
            .flatten()
            .filter(loud)
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The addresses that pages asked for since the last call.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "performance" }));
        let messages =
            entries.as_array().into_iter().flatten().filter_map(|entry| serde_json::from_str::<Value>(entry["message"].as_str()?).ok());
        let sent = messages.filter(|message| message["message"]["method"] == "Network.requestWillBeSent");
        sent.filter_map(|message| message["message"]["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends Chromium; ChromeDriver ends with its group.
        drop(http::send(Method::DELETE, &self.session, &[], Vec::new()));
    }
}

fn request(method: Method, url: &str, body: Option<&Value>) -> Value {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let answer = http::send(method, url, &headers, body.map(Value::to_string).unwrap_or_default().into_bytes())
        .unwrap_or_else(|error| panic!("the browser did not answer: {error}"));
    assert!(answer.status < 300, "the browser refused: {}", answer.text());
    let mut answer: Value = serde_json::from_slice(&answer.body).expect("WebDriver answers in JSON");
    answer["value"].take()
}

/// Keys without a letter, as WebDriver writes them (W3C WebDriver, 17.4.2).
pub mod keys {
    /// Arrow to the left.
    pub const LEFT: &str = "\u{E012}";
    /// Arrow up.
    pub const UP: &str = "\u{E013}";
    /// Arrow to the right.
    pub const RIGHT: &str = "\u{E014}";
    /// Arrow down.
    pub const DOWN: &str = "\u{E015}";
    /// Home.
    pub const HOME: &str = "\u{E011}";
    /// End.
    pub const END: &str = "\u{E010}";
    /// Enter.
    pub const ENTER: &str = "\u{E007}";
    /// Tab.
    pub const TAB: &str = "\u{E004}";
    /// Escape.
    pub const ESCAPE: &str = "\u{E00C}";
}
