"""A person's browser: Chromium, driven over its debugging pipe. One JSON command a line on standard input, one JSON answer a line on standard output."""
import base64, fcntl, json, os, select, subprocess, sys, tempfile, time

DEADLINE = 40
down, up = os.pipe(), os.pipe()
down, up = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in down], [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in up]
os.dup2(down[0], 3)
os.dup2(up[1], 4)
profile = tempfile.mkdtemp(dir=os.getcwd())
browser = subprocess.Popen(
    ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
     "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
    pass_fds=(3, 4), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "HOME": profile})
os.close(3), os.close(4), os.close(down[0]), os.close(up[1])
buffer, number, events, session = b"", 0, [], None


def receive(until):
    global buffer
    while b"\0" not in buffer:
        ready, _, _ = select.select([up[0]], [], [], max(0, until - time.time()))
        if not ready:
            raise TimeoutError("the browser says nothing")
        piece = os.read(up[0], 1 << 16)
        if not piece:
            raise EOFError("the browser has ended")
        buffer += piece
    message, _, rest = buffer.partition(b"\0")
    buffer = rest
    return json.loads(message)


def call(method, **params):
    global number
    number += 1
    message = {"id": number, "method": method, "params": params}
    if session:
        message["sessionId"] = session
    os.write(down[1], json.dumps(message).encode() + b"\0")
    until = time.time() + DEADLINE
    while True:
        answer = receive(until)
        if answer.get("id") == number:
            if "error" in answer:
                raise RuntimeError(answer["error"])
            return answer["result"]
        events.append(answer)


def loaded():
    until = time.time() + DEADLINE
    while not any(event.get("method") == "Page.loadEventFired" for event in events):
        events.append(receive(until))


def evaluate(text):
    result = call("Runtime.evaluate", expression=text, returnByValue=True, awaitPromise=True)
    if "exceptionDetails" in result:
        raise RuntimeError(result["exceptionDetails"])
    return result["result"].get("value")


def settle():
    # A page that loads itself again may just do so: what is asked of it next is asked of the one that stays.
    for _ in range(40):
        if evaluate("document.readyState === 'complete' && document.body !== null"):
            return
        time.sleep(0.05)


def forget_loads():
    events[:] = [event for event in events if event.get("method") != "Page.loadEventFired"]


target = call("Target.createTarget", url="about:blank")["targetId"]
session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
for domain in ["Page", "Runtime", "Network", "Log"]:
    call(f"{domain}.enable")
requests = lambda: [event["params"]["request"]["url"] for event in events if event.get("method") == "Network.requestWillBeSent"]
complaints = lambda: [event["params"]["entry"]["text"] for event in events if event.get("method") == "Log.entryAdded"]
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    command = json.loads(line)
    try:
        if "goto" in command:
            forget_loads()
            call("Page.navigate", url=command["goto"])
            loaded()
            answer = evaluate("document.body ? document.body.innerText : ''")
        elif "click" in command:
            forget_loads()
            evaluate(f"document.querySelector({json.dumps(command['click'])}).click()")
            loaded()
            settle()
            answer = evaluate("document.body ? document.body.innerText : ''")
        elif "type" in command:
            selector, text = command["type"]
            evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
            call("Input.insertText", text=text)
            answer = evaluate(f"document.querySelector({json.dumps(selector)}).value")
        elif "eval" in command:
            answer = evaluate(command["eval"])
        elif "scheme" in command:
            call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": command["scheme"]}])
            answer = evaluate(f"matchMedia('(prefers-color-scheme: {command['scheme']})').matches")
        elif "wide" in command:
            call("Emulation.setDeviceMetricsOverride", width=command["wide"], height=command["high"], deviceScaleFactor=1, mobile=False)
            answer = evaluate("innerWidth")
        elif "shot" in command:
            with open(command["shot"], "wb") as picture:
                picture.write(base64.b64decode(call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))
            answer = command["shot"]
        else:
            evaluate("1")
            answer = {"requests": requests(), "complaints": complaints()}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
browser.kill()
browser.wait()
