#!/usr/bin/env python3
"""Time and bytes until a page shows its first chart, in headless Chromium on a slow line; prints one JSON object.

  first_chart.py http://127.0.0.1:8015/ [--ready EXPRESSION] [--mbit 10] [--rounds 5]

EXPRESSION is JavaScript that becomes true once a chart is drawn, by default with the curves of this project's dashboard;
for another page, give its own. The line has 10 Mbit/s and no latency. Needs Chromium or Chrome, and websocket-client.
"""
import argparse, json, shutil, statistics, subprocess, tempfile, time, urllib.request

import websocket

OURS = "[...document.querySelectorAll('.chart')].some((chart) => chart.figure?.model.lines?.some(({ y }) => y.length))"


class Page:
    """A tab of a new browser, by the Chrome DevTools Protocol."""

    def __init__(self, folder):
        program = shutil.which("chromium") or shutil.which("google-chrome")
        self.browser = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             "--window-size=1280,900", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = next(line for line in self.browser.stderr if "DevTools listening on" in line)
        host = line.split("//")[1].split("/")[0]
        tabs = json.load(urllib.request.urlopen(f"http://{host}/json"))
        url = next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"]
        self.socket = websocket.create_connection(url, suppress_origin=True)
        self.count = self.bytes = 0

    def call(self, method, **parameters):
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("method") == "Network.dataReceived":
                self.bytes += message["params"]["encodedDataLength"]
            if message.get("id") == self.count:
                return message.get("result", {})

    def close(self):
        self.socket.close()
        self.browser.terminate()
        self.browser.wait()


def measure(a):
    """Seconds and bytes of one visit with an empty cache."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Page(folder)
        page.call("Network.enable")
        page.call("Network.emulateNetworkConditions", offline=False, latency=0,
                  downloadThroughput=a.mbit * 125_000, uploadThroughput=a.mbit * 125_000)
        begun = time.monotonic()
        page.call("Page.navigate", url=a.address)
        while not page.call("Runtime.evaluate", expression=a.ready)["result"].get("value"):
            if time.monotonic() - begun > 120:
                raise SystemExit(f"no chart after 120 s: {a.ready}")
            time.sleep(0.01)
        found = time.monotonic() - begun, page.bytes
        page.close()
        return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("address")
    p.add_argument("--ready", default=OURS)
    p.add_argument("--mbit", type=float, default=10)
    p.add_argument("--rounds", type=int, default=5)
    a = p.parse_args()
    seconds, sizes = zip(*(measure(a) for _ in range(a.rounds)))
    print(json.dumps({"seconds": [round(s, 2) for s in seconds], "median_seconds": round(statistics.median(seconds), 2),
                      "bytes": statistics.median(sizes)}))


if __name__ == "__main__":
    main()
