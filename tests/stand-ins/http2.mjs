// The far side that speaks HTTP/2 and nothing else.
import { appendFileSync, readFileSync } from "node:fs";
import { createSecureServer } from "node:http2";

const server = createSecureServer({ key: readFileSync("key.pem"), cert: readFileSync("cert.pem"), allowHTTP1: false });
server.on("stream", (stream, headers) => {
  appendFileSync("requests.log", `${headers[":method"]} ${headers[":path"]}\n`);
  let size = 0;
  stream.on("data", (piece) => (size += piece.length));
  stream.on("error", () => {});
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-type": "application/json" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-after": "the body" }));
    stream.end(JSON.stringify({ version: "h2", method: headers[":method"], target: headers[":path"], size }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
