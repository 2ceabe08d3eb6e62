"""A person with a browser, scripted: follows redirects, keeps cookies, fills in and sends the forms it is shown.

Usage: user_agent.py authorize AUTHORIZATION_URL   prints the redirect back to the client
       user_agent.py device VERIFICATION_URI [USER_CODE]   prints the last page's title

It knows no path and no page of the server: forms are found by their fields, in the HTML.
"""

import http.client
import http.cookiejar
import sys
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser

USERNAME, PASSWORD = "demo", "demo-password"
# Login, consent and their redirects fit in less; more is a loop.
MAX_PAGES = 12
TIMEOUT_SECONDS = 30


class Page(HTMLParser):
    """The forms of a page, and its text."""

    def __init__(self, html):
        super().__init__()
        self.forms, self.title, self.text = [], "", []
        self.current, self.element, self.hidden = None, None, 0
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.element = tag
        if tag in ("script", "style", "svg"):
            self.hidden += 1
        elif tag == "form":
            self.current = {
                "action": attributes.get("action"),
                "method": attributes.get("method", "get").lower(),
                "fields": [],
                "buttons": [],
            }
            self.forms.append(self.current)
        elif tag in ("input", "button") and self.current is not None:
            kind = attributes.get("type", "submit" if tag == "button" else "text").lower()
            field = {**attributes, "type": kind, "checked": "checked" in attributes}
            self.current["buttons" if kind in ("submit", "image") else "fields"].append(field)

    def handle_endtag(self, tag):
        if tag in ("script", "style", "svg"):
            self.hidden -= 1
        elif tag == "form":
            self.current = None
        self.element = None

    def handle_data(self, text):
        if self.element == "title" and not self.hidden:
            self.title += text
        elif not self.hidden and text.strip():
            self.text.append(text.strip())


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class UserAgent:
    """One browser with a cookie jar of its own."""

    def __init__(self):
        # Browsers keep Secure cookies of loopback addresses although they speak plain http.
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("https", "wss", "http"))
        self.cookies = http.cookiejar.CookieJar(policy)
        self.opener = urllib.request.build_opener(NoRedirects, urllib.request.HTTPCookieProcessor(self.cookies))
        self.url = None

    def open(self, url, form=None, until=None):
        """The page behind the redirects; a redirect to `until` is not followed, but returned."""
        site = "none" if self.url is None else "same-origin"
        for _ in range(MAX_PAGES):
            request = urllib.request.Request(url, headers={
                "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
                "Accept-Language": "en",
                "Sec-Fetch-Site": site,
                "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document",
                "User-Agent": "regrant-test-user-agent/1.0",
            })
            if form is not None:
                request.data = urllib.parse.urlencode(form).encode()
                request.add_header("Content-Type", "application/x-www-form-urlencoded")
                request.add_header("Origin", "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(self.url)))
            try:
                response = self.opener.open(request, timeout=TIMEOUT_SECONDS)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                body = response.read().decode()
            location = response.headers.get("Location")
            if location is None or response.status not in (301, 302, 303, 307, 308):
                self.url = url
                if response.status != 200:
                    raise SystemExit(f"{url} answered {response.status}: {' '.join(Page(body).text)[:600]}")
                return Page(body)
            location = urllib.parse.urljoin(url, location)
            if until is not None and location.split("?")[0] == until:
                return location
            # RFC 9110 §15.4: 303 asks for the next page with GET; so do 301 and 302 in every browser.
            if response.status in (301, 302, 303):
                form = None
            url = location
        raise SystemExit(f"more than {MAX_PAGES} redirects, the last to {url}")

    def send(self, form, values, until=None):
        """Presses the first button, as the Enter key does."""
        fields = [
            (field["name"], values.get(field["name"], field.get("value", "")))
            for field in form["fields"]
            if field.get("name") and (field["type"] not in ("checkbox", "radio") or field["checked"])
        ]
        for button in form["buttons"][:1]:
            if button.get("name"):
                fields.append((button["name"], button.get("value", "")))
        action = urllib.parse.urljoin(self.url, form["action"] or self.url)
        if form["method"] != "post":
            return self.open(f"{action.split('?')[0]}?{urllib.parse.urlencode(fields)}", until=until)
        return self.open(action, fields, until)


def named(form, kinds):
    """The names of a form's visible fields of these types."""
    return [field["name"] for field in form["fields"] if field["type"] in kinds and field.get("name")]


def fill(page, user_code=None):
    """The form that moves the page on, and what a person types into it."""
    for form in page.forms:
        secrets, texts = named(form, ("password",)), named(form, ("text", "email"))
        if secrets:
            return form, {**dict.fromkeys(secrets, PASSWORD), **dict.fromkeys(texts, USERNAME)}
        if user_code and texts:
            return form, dict.fromkeys(texts, user_code)
    for form in page.forms:
        # The form that asks for a decision is the one with a button for each answer.
        if form["method"] == "post" and len(form["buttons"]) > 1:
            return form, {}
    return None, {}


def authorize(url):
    redirect_uri = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["redirect_uri"][0]
    browser = UserAgent()
    page = browser.open(url, until=redirect_uri)
    for _ in range(MAX_PAGES):
        if isinstance(page, str):
            return page
        form, values = fill(page)
        if form is None:
            raise SystemExit(f"{browser.url} has no form to go on with: {' '.join(page.text)[:600]}")
        page = browser.send(form, values, until=redirect_uri)
    raise SystemExit(f"the server keeps showing forms, the last at {browser.url}")


def approve_device(url, user_code):
    browser = UserAgent()
    page = browser.open(url)
    for _ in range(MAX_PAGES):
        form, values = fill(page, user_code)
        if form is None:
            return page.title.strip()
        page = browser.send(form, values)
    raise SystemExit(f"the server keeps showing forms, the last at {browser.url}: {' '.join(page.text)[:600]}")


def main():
    verb, *arguments = sys.argv[1:]
    if verb == "authorize":
        print(authorize(*arguments))
    elif verb == "device":
        print(approve_device(arguments[0], arguments[1] if len(arguments) > 1 else None))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
