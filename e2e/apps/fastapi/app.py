"""A small API: documented, streaming, with a WebSocket, uploads and cookies."""

import asyncio

from fastapi import Request, Response, UploadFile, WebSocket
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, StreamingResponse
from fastapi_offline import FastAPIOffline

# Addresses as tutorials write them: where the server is when it is started at home.
CHAT = """
<!DOCTYPE html>
<html>
    <head>
        <title>Chat</title>
    </head>
    <body>
        <form onsubmit="socket.send(text.value); event.preventDefault()">
            <input id="text" aria-label="Message">
            <button>Send</button>
        </form>
        <p id="answer"></p>
        <button onclick="ask()">Ask the other port</button>
        <p id="parcel"></p>
        <script>
            const socket = new WebSocket("ws://localhost:8000/ws")
            socket.onmessage = ({ data }) => { answer.textContent = data }
            async function ask() {
                const found = await fetch("http://localhost:8001/parcels/7")
                parcel.textContent = (await found.json()).state
            }
        </script>
    </body>
</html>
"""

# FastAPI as it is, but for /docs: its scripts come from here rather than from the internet.
app = FastAPIOffline(title="Parcels")


@app.get("/")
def home(request: Request):
    return {"cookies": request.cookies, "base": str(request.base_url)}


@app.get("/chat")
def chat():
    return HTMLResponse(CHAT)


@app.get("/parcels/{number}")
def parcel(number: int):
    return {"number": number, "state": "on its way"}


@app.post("/upload")
async def upload(file: UploadFile):
    size = 0
    while part := await file.read(1024 * 1024):
        size += len(part)
    return {"name": file.filename, "size": size}


heard = asyncio.Event()


@app.post("/heard")
async def hear():
    heard.set()


@app.get("/events")
async def events():
    async def steps():
        for number in range(1, 6):
            heard.clear()
            yield f"data: step {number}\n\n"
            # The next one comes when somebody has heard this one.
            await heard.wait()

    return StreamingResponse(steps(), media_type="text/event-stream")


@app.get("/source")
def source():
    return FileResponse(__file__)


@app.get("/sign-in")
def sign_in(response: Response, user: str):
    response.set_cookie("user", user, httponly=True)
    return {"user": user}


@app.get("/leave")
def leave(request: Request):
    return RedirectResponse(request.url_for("home"))


@app.websocket("/ws")
async def echo(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"heard {text}")
