#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the new_app action, which runs on the controller (plugins/action/new_app.py)."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: new_app
short_description: Writes the first inventory entry of a project
version_added: 0.1.0
author:
  - Headcount contributors (!UNKNOWN)
description:
  - Looks at a Flask (or other WSGI) project as it is, imports it in a sandbox, asks for its pages and weighs them for a
    moment, and writes the entry of C(headcount_apps) that makes it go live. What it could not know is a question.
  - Where a project cannot be looked at to the end, it fails and says why; what is known without that is written all the
    same, and asks for the rest.
  - Runs on the controller, as C(scripts/new-app) does. No host is connected to, and nothing of the project is written.
extends_documentation_fragment:
  - headcount.gunicorn._attributes
  - headcount.gunicorn._attributes.on_controller
options:
  source:
    description: The folder of a project, a wheel, the URL of a repository (C(URL@VERSION)), or C(NAME==VERSION).
    type: str
    required: true
  dest:
    description:
      - The file that the entry is written to. By default it is the app's name with C(.yml), in the working directory.
      - A file that is there already is left as it is, and the project is not looked at.
    type: path
  name:
    description: The name of the app on its hosts. It is the project's by default.
    type: str
  environment:
    description:
      - Variables that the project needs, by name. C({data}) in a value stands for the app's data.
      - What is secret among them is used for the look alone, and is a question of the entry.
    type: dict
  requirements:
    description:
      - What the project depends on (files in it, and requirements), instead of what it says itself.
      - What the metadata of a package asks for holds beside them.
    type: list
    elements: str
  lock:
    description: The file that says the versions. No other one counts then.
    type: path
  entry_point:
    description: The app as C(module:object), instead of what the project's files and code say.
    type: str
  subdirectory:
    description: The folder of the project within the source.
    type: str
  python:
    description: The Python of the controller that it is looked at with, by its path or its version; else Ansible's own.
    type: str
  host:
    description: Write a whole inventory with this host, and not the variables alone.
    type: str
  force:
    description: Write the file anew where it is there already.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Write the first entry of a project
  headcount.gunicorn.new_app:
    source: ../shop
    dest: shop.yml
"""

RETURN = r"""
dest:
  description: The file.
  type: str
  returned: success
entry:
  description: The text of the entry.
  type: str
  returned: when the project was looked at
questions:
  description: What a person has to answer, those first that keep the app from going live.
  type: list
  elements: str
  returned: when the project was looked at
ready:
  description: Whether the app can go live with this entry as it is.
  type: bool
  returned: when the project was looked at
"""
