"""Firefox without a window, driven by WebDriver BiDi: goes to the page that is named and prints its text."""
import asyncio, json, re, subprocess, sys, tempfile, websockets

DEADLINE = 100


async def main(page):
    profile = tempfile.mkdtemp()
    firefox = await asyncio.create_subprocess_exec(
        "firefox-esr", "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = b""
    try:
        while not (found := re.search(rb"listening on (ws://\S+)", said)):
            line = await firefox.stderr.readline()
            if not line:
                sys.exit(said.decode(errors="replace"))
            said += line
        async with websockets.connect(found[1].decode() + "/session", max_size=None) as line:
            number = 0

            async def call(method, **parameters):
                nonlocal number
                number += 1
                await line.send(json.dumps({"id": number, "method": method, "params": parameters}))
                while (answer := json.loads(await line.recv())).get("id") != number:
                    pass
                if answer["type"] == "error":
                    sys.exit(f"{method}: {answer['error']}: {answer['message']}")
                return answer["result"]

            await call("session.new", capabilities={})
            context = (await call("browsingContext.getTree"))["contexts"][0]["context"]
            await call("browsingContext.navigate", context=context, url=page, wait="complete")
            text = await call("script.evaluate", expression="document.body.innerText", target={"context": context}, awaitPromise=False)
            print(text["result"]["value"].strip())
    finally:
        firefox.kill()
        await firefox.wait()


asyncio.run(asyncio.wait_for(main(sys.argv[1]), DEADLINE))
