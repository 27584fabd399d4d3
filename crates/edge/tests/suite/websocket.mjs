// Opens a WebSocket over HTTP/2 (RFC 8441) with nothing but Node's own library, and says what came back.
// Arguments: the address, and the certificate of who vouches for it.
import { connect } from "node:http2";
import { readFileSync } from "node:fs";

const [address, authority] = process.argv.slice(2);
const session = connect(address, { ca: readFileSync(authority) });
session.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
session.once("remoteSettings", (settings) => {
  if (!settings.enableConnectProtocol) {
    console.error("WebSockets over HTTP/2 are not offered");
    process.exit(1);
  }
  const stream = session.request(
    {
      ":method": "CONNECT",
      ":protocol": "websocket",
      ":scheme": "https",
      ":path": "/feed",
      ":authority": new URL(address).host,
      "sec-websocket-version": "13",
      "sec-websocket-protocol": "feed.v1",
    },
    { endStream: false },
  );
  let head;
  stream.on("response", (headers) => {
    head = headers;
    // One text frame with a mask of zeros (RFC 6455, 5.2).
    stream.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from("hello")]));
  });
  let came = Buffer.alloc(0);
  stream.on("data", (some) => {
    came = Buffer.concat([came, some]);
    if (came.length >= 7) {
      console.log(head[":status"], head["sec-websocket-protocol"], came.subarray(2).toString());
      session.destroy();
    }
  });
});
